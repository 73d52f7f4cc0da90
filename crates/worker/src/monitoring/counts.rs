//! What the loop counts of tasks: plain numbers in its own hands, by the names of the tasks of the app.

use std::collections::HashMap;
use std::time::Duration;

use celeriac_app::{Objective, Objectives, sent_at};
use celeriac_protocol::{Headers, State, TaskName, Timestamp};

use crate::death::{ChildDeath, DeathReason};
use crate::finish::Refusal;
use crate::outcome::Outcome;
use crate::request::Request;

/// The most tasks that are counted under their own names.
pub(crate) const MOST_NAMES: usize = 200;

/// What all further tasks are counted under, unless a task is named so.
const OTHER: &str = "other";

/// The upper bounds of the buckets of every histogram, in seconds.
pub(crate) const BOUNDS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Durations by how long they were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// How many were within each bound and above the one before; the last place is for those above all.
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
    /// All together, in seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[place] += 1;
        self.sum += seconds;
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// How requests end, as metrics say it.
pub(crate) const STATES: [&str; 9] =
    ["success", "failure", "retry", "revoked", "rejected", "ignored", "replaced", "lost", "returned"];

/// What is counted of one task.
#[derive(Clone, Debug)]
pub(crate) struct TaskCounts {
    /// What it is counted under.
    pub(crate) name: Box<str>,
    /// How many of its requests ended in each of [`STATES`].
    pub(crate) ended: [u64; STATES.len()],
    /// How long it ran.
    pub(crate) runtime: Histogram,
    /// From sending until the start, of first runs whose producer said when it sent.
    pub(crate) response: Histogram,
    /// From the first sending until the final state.
    pub(crate) resolution: Histogram,
    /// How soon it should start and be done.
    pub(crate) objective: Objective,
    /// How many of its requests started as soon as they should, and how many did not.
    pub(crate) responses: Kept,
    /// The same of how soon they were done.
    pub(crate) resolutions: Kept,
}

/// How many requests met an objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) met: u64,
    pub(crate) missed: u64,
}

impl Kept {
    fn count(&mut self, objective: Option<Duration>, took: Duration) {
        match objective {
            Some(most) if took <= most => self.met += 1,
            Some(_) => self.missed += 1,
            None => {}
        }
    }
}

impl TaskCounts {
    fn new(name: &str, objective: Objective) -> Self {
        Self {
            name: name.into(),
            objective,
            responses: Kept::default(),
            resolutions: Kept::default(),
            ended: [0; STATES.len()],
            runtime: Histogram::default(),
            response: Histogram::default(),
            resolution: Histogram::default(),
        }
    }
}

/// What is counted from zero, so that the first one is a rise: the codes of refusals, and the reasons for which children
/// are replaced.
const REFUSALS: [&str; 5] = ["unknown-task", "undecodable-body", "too-large", "delivery-limit", "not-a-task"];
const RESTARTS: [&str; 9] = [
    "oom",
    "signal",
    "exit",
    "start-failed",
    "silent",
    "hard-time-limit",
    "revoked",
    "recycled-tasks",
    "recycled-memory",
];

/// What has happened since the worker started.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// By task, in the order in which they first came; then all further ones together.
    pub(crate) tasks: Vec<TaskCounts>,
    places: HashMap<TaskName, usize>,
    objectives: Objectives,
    /// Deliveries that nobody could run, by the code of the reason.
    pub(crate) refused: Vec<(&'static str, u64)>,
    /// Children that were or will be replaced, by the reason of their end.
    pub(crate) restarts: Vec<(&'static str, u64)>,
    /// The process of each child that died last: several requests may tell of one death.
    dead: HashMap<Box<str>, u32>,
    /// How often the lease was renewed.
    pub(crate) renewals: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            places: HashMap::new(),
            objectives: Objectives::default(),
            refused: REFUSALS.map(|code| (code, 0)).into(),
            restarts: RESTARTS.map(|reason| (reason, 0)).into(),
            dead: HashMap::new(),
            renewals: 0,
        }
    }
}

impl Counts {
    /// Those of a worker whose tasks have these objectives.
    pub(crate) fn new(objectives: Objectives) -> Self {
        Self { objectives, ..Self::default() }
    }

    /// The counts of this task, which must be one of the app: names of others never become labels.
    fn of(&mut self, name: &TaskName) -> &mut TaskCounts {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => self.new_place(name),
        };
        &mut self.tasks[place]
    }

    fn new_place(&mut self, name: &TaskName) -> usize {
        let next = self.tasks.len();
        let place = next.min(MOST_NAMES);
        if place == next {
            let counts = match next {
                MOST_NAMES => TaskCounts::new(&self.name_of_further_tasks(), Objective::default()),
                _ => TaskCounts::new(name.as_str(), self.objectives.find(name.as_str())),
            };
            self.tasks.push(counts);
        }
        // Bounded by the tasks of the app.
        self.places.insert(name.clone(), place);
        place
    }

    /// A name that none of the tasks has which are counted under their own: two series of one name make a page that no
    /// scraper takes.
    fn name_of_further_tasks(&self) -> String {
        let mut name = OTHER.to_owned();
        while self.tasks.iter().any(|task| *task.name == *name) {
            name.insert(0, '_');
        }
        name
    }

    /// A request has started. A retry starts late on purpose, so only first runs tell how soon tasks start.
    pub(crate) fn started(&mut self, request: &Request, now: Timestamp) {
        let headers = &request.delivery.message.headers;
        if headers.retries == 0
            && let Some(waited) = since_sent(headers, now)
        {
            let counts = self.of(request.name());
            counts.response.observe(waited);
            counts.responses.count(counts.objective.response, waited);
        }
    }

    /// A task ran for this long.
    pub(crate) fn ran(&mut self, request: &Request, runtime: Duration) {
        self.of(request.name()).runtime.observe(runtime);
    }

    /// A request has ended.
    pub(crate) fn ended(&mut self, request: &Request, outcome: &Outcome, now: Timestamp) {
        let state = state(outcome);
        let waited = matches!(STATES[state], "success" | "failure")
            .then(|| since_sent(&request.delivery.message.headers, now))
            .flatten();
        let counts = self.of(request.name());
        counts.ended[state] += 1;
        if let Some(waited) = waited {
            counts.resolution.observe(waited);
            counts.resolutions.count(counts.objective.resolution, waited);
        }
    }

    /// A delivery was refused.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        add(&mut self.refused, refusal.code.as_str());
    }

    /// A child died. Telling it again of the same death does not count.
    pub(crate) fn child_died(&mut self, death: &ChildDeath) {
        if matches!(death.reason, DeathReason::Ended | DeathReason::Shutdown) {
            return;
        }
        if self.dead.insert(death.child.clone(), death.pid) != Some(death.pid) {
            add(&mut self.restarts, death.reason.code());
        }
    }
}

fn add(counters: &mut Vec<(&'static str, u64)>, label: &'static str) {
    match counters.iter_mut().find(|(known, _)| *known == label) {
        Some((_, count)) => *count += 1,
        None => counters.push((label, 1)),
    }
}

fn since_sent(headers: &Headers, now: Timestamp) -> Option<Duration> {
    sent_at(headers).map(|sent| now.saturating_since(sent))
}

/// The place of an outcome in [`STATES`].
fn state(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Success(_) | Outcome::Handled { state: State::Success, .. } => 0,
        Outcome::Failure(_)
        | Outcome::TimeLimitExceeded(_)
        | Outcome::Handled { state: State::Failure, .. } => 1,
        Outcome::Retry { .. } | Outcome::Handled { state: State::Retry, .. } => 2,
        Outcome::Revoked(_) | Outcome::Handled { state: State::Revoked, .. } => 3,
        Outcome::Rejected { .. } | Outcome::Handled { state: State::Rejected, .. } => 4,
        Outcome::Ignored | Outcome::Handled { .. } => 5,
        Outcome::Replaced(_) => 6,
        Outcome::Lost(_) => 7,
        Outcome::Returned => 8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use celeriac_app::TaskDefinition;
    use celeriac_protocol::Value;

    use super::*;
    use crate::testing::{NOW, delivery, request, request_of, task};

    fn named(name: &str) -> Request {
        request_of(TaskDefinition { name: name.into(), ..task() }, delivery(1))
    }

    #[test]
    fn a_duration_counts_in_the_bucket_of_its_bound() {
        let mut histogram = Histogram::default();
        for millis in [0, 5, 6, 1000, 4_000_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.buckets[7]), (2, 1, 1));
        assert_eq!((histogram.buckets[BOUNDS.len()], histogram.count()), (1, 5));
        assert!((histogram.sum - 4001.011).abs() < 1e-9);
    }

    #[test]
    fn further_names_share_one_label() {
        let mut counts = Counts::default();
        for number in 0..MOST_NAMES + 50 {
            counts.ended(&named(&format!("t{number}")), &Outcome::Ignored, NOW);
        }
        assert_eq!(counts.tasks.len(), MOST_NAMES + 1);
        let other = counts.tasks.last().unwrap();
        assert_eq!((&*other.name, other.ended[5]), (OTHER, 50));
    }

    #[test]
    fn a_task_of_the_name_of_further_ones_keeps_it() {
        let mut counts = Counts::default();
        let names = (2..MOST_NAMES).map(|number| format!("t{number}"));
        for name in [OTHER.to_owned(), format!("_{OTHER}")].into_iter().chain(names) {
            counts.ended(&named(&name), &Outcome::Ignored, NOW);
        }
        for name in ["one more", "and another", OTHER] {
            counts.ended(&named(name), &Outcome::Ignored, NOW);
        }
        let labels: HashSet<_> = counts.tasks.iter().map(|task| &*task.name).collect();
        assert_eq!((labels.len(), counts.tasks.len()), (MOST_NAMES + 1, MOST_NAMES + 1));
        let ended =
            |name: &str| counts.tasks.iter().find(|task| &*task.name == name).map(|task| task.ended[5]);
        assert_eq!((ended(OTHER), ended("_other"), ended("__other")), (Some(2), Some(1), Some(2)));
    }

    #[test]
    fn retries_do_not_count_as_late_starts_and_are_no_end() {
        let (mut counts, now) = (Counts::default(), NOW.saturating_add(Duration::from_secs(3600)));
        let mut retried = delivery(1);
        retried.message.headers.retries = 1;
        let retried = request(retried);
        counts.started(&retried, now);
        assert!(counts.tasks.is_empty());
        counts.ended(&retried, &Outcome::Handled { state: State::Retry, record: None, said: None }, now);
        assert_eq!(counts.tasks[0].resolution.count(), 0);
        counts.ended(&retried, &Outcome::Success(Value::Null), now);
        assert_eq!(counts.tasks[0].resolution.count(), 1);
    }

    #[test]
    fn one_death_counts_once_however_many_requests_it_takes() {
        let mut counts = Counts::default();
        let death = |pid, reason| ChildDeath {
            child: "child-1".into(),
            pid,
            reason,
            task_id: None,
            task_name: None,
            runtime: Duration::ZERO,
            resident_bytes: None,
            lived: Duration::ZERO,
        };
        for _ in 0..3 {
            counts.child_died(&death(7, DeathReason::Signal(9)));
        }
        counts.child_died(&death(8, DeathReason::Signal(11)));
        counts.child_died(&death(9, DeathReason::Ended));
        let told: Vec<_> = counts.restarts.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(told, [("signal", 2)]);
    }
}
