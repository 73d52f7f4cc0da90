//! What the events come to: the workers and tasks that they tell of. Pure.
//!
//! Source of what an event means: `celery/events/state.py`, Celery 5.7.0.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use celeriac_protocol::{Timestamp, Value};

use crate::output::show_value;

/// The most tasks that are remembered; those that were told of first are forgotten first.
pub(super) const MOST_TASKS: usize = 10_000;

/// The most workers that are remembered; those that have been silent for longest are forgotten first.
const MOST_WORKERS: usize = 1_000;

/// The most that is remembered of one text, in bytes.
const LONGEST_TEXT: usize = 2_000;

/// The most that is remembered of one task besides; no event of Celery says as much.
const MOST_FACTS: usize = 50;

/// Over how many seconds rates are counted.
const RATE_OVER: i64 = 10;

/// How often a worker sends heartbeats that does not say so.
const USUAL_FREQUENCY: f64 = 2.0;

/// The workers and tasks that were told of.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) workers: BTreeMap<String, Worker>,
    tasks: HashMap<String, Task>,
    /// The ids of the tasks, the one that was told of first before the others.
    order: VecDeque<String>,
    /// How many events came.
    pub(super) events: u64,
}

/// A worker, by what it has told last.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// When it was heard last.
    heard: Option<Timestamp>,
    /// Seconds between its heartbeats.
    frequency: f64,
    /// Whether it said that it ends.
    is_gone: bool,
    pub(super) active: i64,
    pub(super) processed: i64,
    pub(super) load: String,
    pub(super) software: String,
    ended: Rate,
}

/// A task, by what was told of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) worker: String,
    /// When its latest event happened.
    pub(super) at: Option<Timestamp>,
    /// How long it ran, in seconds.
    pub(super) runtime: Option<f64>,
    /// What else was told, in the order in which it was told first.
    pub(super) facts: Vec<(String, String)>,
}

/// How many things happened in the last seconds.
#[derive(Debug, Default)]
struct Rate(VecDeque<(i64, u64)>);

impl Rate {
    fn count(&mut self, now: Timestamp) {
        let second = now.as_micros().div_euclid(1_000_000);
        match self.0.back_mut() {
            Some((last, count)) if *last >= second => *count += 1,
            _ => self.0.push_back((second, 1)),
        }
        while self.0.front().is_some_and(|(first, _)| *first <= second - RATE_OVER) {
            self.0.pop_front();
        }
    }

    fn per_second(&self, now: Timestamp) -> f64 {
        let since = now.as_micros().div_euclid(1_000_000) - RATE_OVER;
        let recent = self.0.iter().filter(|(second, _)| *second > since);
        recent.map(|(_, count)| *count).sum::<u64>() as f64 / RATE_OVER as f64
    }
}

impl Worker {
    /// Whether its heartbeats come.
    ///
    /// Source: `heartbeat_expires`, which waits for twice their interval.
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        let patience = Duration::try_from_secs_f64(self.frequency * 2.0).unwrap_or(Duration::MAX);
        !self.is_gone && self.heard.is_some_and(|heard| now.saturating_since(heard) <= patience)
    }

    /// How many tasks have ended per second, over the last 10 seconds.
    pub(super) fn rate(&self, now: Timestamp) -> f64 {
        self.ended.per_second(now)
    }
}

impl Picture {
    /// Takes in one event, which came `now`.
    pub(super) fn hear(&mut self, event: &Value, now: Timestamp) {
        self.events += 1;
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let Some(kind) = text("type") else { return };
        let worker = text("hostname").unwrap_or_default();
        if let Some(told) = kind.strip_prefix("worker-") {
            self.worker(worker, now).tell(told, event);
        } else if let (true, Some(id)) = (kind.starts_with("task-"), text("uuid")) {
            let state = state_of(kind);
            // Who sends a task is no worker, and has no heartbeats.
            if kind != "task-sent" {
                let worker = self.worker(worker, now);
                if matches!(state, Some("SUCCESS" | "FAILURE" | "REVOKED" | "REJECTED")) {
                    worker.ended.count(now);
                }
            }
            self.task(id).tell(kind, state, worker, event);
        }
    }

    /// All tasks, the one that was told of last before the others.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Task> {
        self.order.iter().rev().filter_map(|id| self.tasks.get(id))
    }

    pub(super) fn find(&self, id: &str) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// How many tasks there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn worker(&mut self, name: &str, now: Timestamp) -> &mut Worker {
        if self.workers.len() >= MOST_WORKERS && !self.workers.contains_key(name) {
            let silent = self.workers.iter().min_by_key(|(_, worker)| worker.heard);
            if let Some(silent) = silent.map(|(name, _)| name.clone()) {
                self.workers.remove(&silent);
            }
        }
        let worker = self.workers.entry(clipped(name)).or_default();
        worker.heard = Some(now);
        if worker.frequency <= 0.0 {
            worker.frequency = USUAL_FREQUENCY;
        }
        worker
    }

    fn task(&mut self, id: &str) -> &mut Task {
        let id = clipped(id);
        if !self.tasks.contains_key(&id) {
            if self.order.len() >= MOST_TASKS
                && let Some(first) = self.order.pop_front()
            {
                self.tasks.remove(&first);
            }
            self.order.push_back(id.clone());
        }
        self.tasks.entry(id.clone()).or_insert_with(|| Task { id, state: "PENDING", ..Task::default() })
    }
}

impl Worker {
    fn tell(&mut self, told: &str, event: &Value) {
        self.is_gone = told == "offline";
        let number = |name: &str| event.get(name).and_then(Value::as_f64);
        if let Some(frequency) = number("freq").filter(|frequency| *frequency > 0.0) {
            self.frequency = frequency;
        }
        self.active = number("active").map_or(self.active, |active| active as i64);
        self.processed = number("processed").map_or(self.processed, |processed| processed as i64);
        if let Some(Value::List(load)) = event.get("loadavg") {
            let load: Vec<String> = load.iter().take(3).map(|it| clipped(&show_value(it))).collect();
            self.load = load.join(" ");
        }
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        if !text("sw_ident").is_empty() {
            self.software = clipped(&format!("{} {}", text("sw_ident"), text("sw_ver")));
        }
    }
}

impl Task {
    fn tell(&mut self, kind: &str, state: Option<&'static str>, worker: &str, event: &Value) {
        let at = event.get("timestamp").and_then(Value::as_f64).unwrap_or_default();
        let at = Timestamp::from_micros((at * 1e6) as i64);
        // Events of several processes come in any order.
        if self.at.is_none_or(|latest| latest <= at) {
            self.at = Some(at);
            self.state = state.unwrap_or(self.state);
            if kind != "task-sent" {
                self.worker = clipped(worker);
            }
        }
        let Value::Map(fields) = event else { return };
        for (name, value) in fields {
            match (&**name, value) {
                ("type" | "hostname" | "timestamp" | "uuid" | "clock" | "pid" | "utcoffset", _)
                | (_, Value::Null) => {}
                ("name", value) => self.name = clipped(&show_value(value)),
                ("runtime", value) => self.runtime = value.as_f64(),
                (name, value) => self.note(name, clipped(&show_value(value))),
            }
        }
    }

    fn note(&mut self, name: &str, value: String) {
        match self.facts.iter().position(|(known, _)| known == name) {
            Some(place) => self.facts[place].1 = value,
            None if self.facts.len() < MOST_FACTS => self.facts.push((clipped(name), value)),
            None => {}
        }
    }
}

/// The state that an event of this type leads to.
///
/// Source: `TASK_EVENT_TO_STATE`.
fn state_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "task-sent" => "PENDING",
        "task-received" => "RECEIVED",
        "task-started" => "STARTED",
        "task-succeeded" => "SUCCESS",
        "task-failed" => "FAILURE",
        "task-retried" => "RETRY",
        "task-revoked" => "REVOKED",
        "task-rejected" => "REJECTED",
        _ => return None,
    })
}

fn clipped(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use celeriac_protocol::json;

    pub(in crate::events) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// A picture of these events, each of which comes when it happens.
    pub(in crate::events) fn picture(events: &[&str]) -> Picture {
        let mut picture = Picture::default();
        for event in events {
            let event = json::parse(event.as_bytes()).unwrap();
            let now = at(event.get("timestamp").and_then(Value::as_i64).unwrap_or_default());
            picture.hear(&event, now);
        }
        picture
    }

    #[test]
    fn a_task_is_what_was_told_of_it_last() {
        // The end came before the start, from another process.
        let picture = picture(&[
            r#"{"type": "task-received", "uuid": "a", "name": "t.add", "args": "(1,)", "hostname": "w@h", "timestamp": 1}"#,
            r#"{"type": "task-succeeded", "uuid": "a", "result": "2", "runtime": 0.5, "hostname": "w@h", "timestamp": 3}"#,
            r#"{"type": "task-started", "uuid": "a", "hostname": "w@h", "timestamp": 2}"#,
            r#"{"type": "task-progress", "uuid": "a", "percent": 5, "hostname": "w@h", "timestamp": 4}"#,
        ]);
        let task = picture.find("a").unwrap();
        assert_eq!(
            (task.state, &*task.name, &*task.worker, task.runtime),
            ("SUCCESS", "t.add", "w@h", Some(0.5))
        );
        let facts = [("args", "(1,)"), ("result", "2"), ("percent", "5")];
        assert_eq!(task.facts, facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_worker_lives_while_it_says_so() {
        let mut picture = picture(&[
            r#"{"type": "worker-heartbeat", "hostname": "w@h", "freq": 5, "active": 2, "processed": 9, "timestamp": 10}"#,
        ]);
        let worker = &picture.workers["w@h"];
        assert_eq!((worker.active, worker.processed), (2, 9));
        assert!(worker.is_alive(at(20)) && !worker.is_alive(at(21)));
        let offline = json::parse(br#"{"type": "worker-offline", "hostname": "w@h"}"#).unwrap();
        picture.hear(&offline, at(12));
        assert!(!picture.workers["w@h"].is_alive(at(12)));
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut picture = Picture::default();
        let ended = json::parse(br#"{"type": "task-succeeded", "uuid": "a", "hostname": "w@h"}"#).unwrap();
        (0..40).for_each(|second| picture.hear(&ended, at(second / 2)));
        let rate = |now| picture.workers["w@h"].rate(at(now));
        assert_eq!((rate(19), rate(24), rate(60)), (2.0, 1.0, 0.0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut picture = Picture::default();
        for number in 0..MOST_TASKS + 10 {
            let event =
                format!(r#"{{"type": "task-received", "uuid": "{number}", "hostname": "w{number}@h"}}"#);
            picture.hear(&json::parse(event.as_bytes()).unwrap(), at(number as i64));
        }
        assert_eq!(
            (picture.len(), picture.tasks.len(), picture.workers.len()),
            (MOST_TASKS, MOST_TASKS, MOST_WORKERS)
        );
        assert!(picture.find("9").is_none() && picture.find("10").is_some());
        assert_eq!(picture.newest().next().unwrap().id, (MOST_TASKS + 9).to_string());
        let long = format!(r#"{{"type": "task-failed", "uuid": "a", "traceback": "{}"}}"#, "é".repeat(5_000));
        picture.hear(&json::parse(long.as_bytes()).unwrap(), at(0));
        assert_eq!(picture.find("a").unwrap().facts[0].1.len(), LONGEST_TEXT);
    }
}
