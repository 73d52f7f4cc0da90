//! What is known of a worker as a text of metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use celeriac_app::resource::{ResourceHealth, ResourceState};
use tokio::time::Instant;

use super::counts::{BOUNDS, Histogram, Kept, STATES, TaskCounts};
use super::families::{
    BUSY, CHILD_RESOURCES, ENDED, EVENTS_DROPPED, MOST, OBJECTIVE, OBJECTIVES, PREFETCH, QUEUE_CONSUMERS,
    QUEUE_LENT, QUEUE_OLDEST, QUEUE_READY, QUEUE_SCHEDULED, READY, REFUSED, RENEWALS, RESOLUTION,
    RESOURCE_ALIVE, RESOURCE_FAILURES, RESOURCE_READY, RESOURCE_REBUILDS, RESPONSE, RESTARTS, ROUND_TRIPS,
    RUNTIME, SLOTS, STORE, UNSETTLED, WAITING, WORKER,
};
use super::snapshot::{PoolState, Snapshot};
use super::text::{Family, Text};
use super::vitals::Vitals;
use super::watch::QueueState;

/// What the worker is besides what its loop says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    pub(super) is_ready: bool,
    pub(super) store_answers: bool,
    /// How many requests went to the store, over all connections of the worker.
    pub(super) round_trips: u64,
}

impl Condition {
    /// At this moment.
    pub(super) fn of(vitals: &mut Vitals, now: Instant) -> Self {
        Self {
            is_ready: vitals.ready(now).is_ok(),
            store_answers: vitals.store_answers(now),
            round_trips: vitals.round_trips(),
        }
    }
}

/// A family, and what it says of one thing.
type Column<T, N> = (&'static Family, fn(&T) -> N);

/// The text of one scrape; without queues where the store did not say what is in them.
pub(super) fn render(snapshot: &Snapshot, condition: Condition, queues: Option<&[QueueState]>) -> String {
    let mut text = Text::default();
    let worker = [
        ("node", snapshot.node_name.as_str()),
        ("app", snapshot.app.as_str()),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    text.family(&WORKER).add(&worker, 1);
    text.family(&READY).add(&[], u8::from(condition.is_ready));
    text.family(&STORE).add(&[], u8::from(condition.store_answers));
    text.family(&ROUND_TRIPS).add(&[], condition.round_trips);
    of_tasks(&mut text, &snapshot.counts.tasks);
    of_objectives(&mut text, &snapshot.counts.tasks);
    by_label(&mut text, &REFUSED, "code", &snapshot.counts.refused);
    text.family(&EVENTS_DROPPED).add(&[], snapshot.events_dropped);
    text.family(&UNSETTLED).add(&[], snapshot.unsettled);
    text.family(&PREFETCH).add(&[], snapshot.prefetch_limit);
    text.family(&MOST).add(&[], snapshot.deliveries_limit);
    of_pools(&mut text, &snapshot.pools);
    by_label(&mut text, &RESTARTS, "reason", &snapshot.counts.restarts);
    text.family(&RENEWALS).add(&[], snapshot.counts.renewals);
    of_resources(&mut text, &snapshot.resources);
    of_children(&mut text, &snapshot.child_resources);
    of_queues(&mut text, queues.unwrap_or_default());
    text.end()
}

fn of_tasks(text: &mut Text, tasks: &[TaskCounts]) {
    let mut ended = text.family(&ENDED);
    for task in tasks {
        for (state, count) in STATES.iter().zip(task.ended) {
            // The two that alerts compare count from zero.
            if count == 0 && !matches!(*state, "success" | "failure") {
                continue;
            }
            ended.add(&[("task", &task.name), ("state", state)], count);
        }
    }
    for (place, family) in [&RUNTIME, &RESPONSE, &RESOLUTION].into_iter().enumerate() {
        let mut samples = text.family(family);
        for task in tasks {
            let histogram = [&task.runtime, &task.response, &task.resolution][place];
            // A task that is never sent with a time has no response to tell of.
            if histogram.count() == 0 {
                continue;
            }
            let Histogram { buckets, sum } = histogram;
            samples.add_histogram(&[("task", &task.name)], &BOUNDS, buckets, *sum);
        }
    }
}

/// What those tasks say that have an objective: the objective, and who met it.
fn of_objectives(text: &mut Text, tasks: &[TaskCounts]) {
    let rows = tasks.iter().flat_map(|task| {
        let TaskCounts { name, objective, responses, resolutions, .. } = task;
        let row = |what, most: Option<Duration>, kept: &Kept| most.map(|most| (&**name, what, most, *kept));
        let response = row("response", objective.response, responses);
        response.into_iter().chain(row("resolution", objective.resolution, resolutions))
    });
    let rows: Vec<(&str, &str, Duration, Kept)> = rows.collect();
    let mut samples = text.family(&OBJECTIVE);
    for (task, what, most, _) in &rows {
        samples.add(&[("task", task), ("objective", what)], most.as_secs_f64());
    }
    let mut samples = text.family(&OBJECTIVES);
    for (task, what, _, kept) in &rows {
        for (met, count) in [("true", kept.met), ("false", kept.missed)] {
            samples.add(&[("task", task), ("objective", what), ("met", met)], count);
        }
    }
}

fn by_label(text: &mut Text, family: &Family, label: &str, counters: &[(&'static str, u64)]) {
    let mut samples = text.family(family);
    for (value, count) in counters {
        samples.add(&[(label, value)], count);
    }
}

fn of_pools(text: &mut Text, pools: &[PoolState]) {
    let numbers: [Column<PoolState, usize>; 3] =
        [(&SLOTS, |pool| pool.slots), (&BUSY, |pool| pool.busy), (&WAITING, |pool| pool.waiting)];
    for (family, number) in numbers {
        let mut samples = text.family(family);
        for pool in pools {
            samples.add(&[("pool", pool.pool)], number(pool));
        }
    }
}

fn of_resources(text: &mut Text, resources: &[ResourceHealth]) {
    let numbers: [Column<ResourceHealth, u64>; 4] = [
        (&RESOURCE_READY, |health| u64::from(health.state == ResourceState::Ready)),
        (&RESOURCE_ALIVE, |health| u64::from(health.alive)),
        (&RESOURCE_REBUILDS, |health| health.rebuilds),
        (&RESOURCE_FAILURES, |health| health.failures),
    ];
    for (family, number) in numbers {
        let mut samples = text.family(family);
        for health in resources {
            let kind = health.kind.to_string();
            samples.add(&[("resource", &health.name), ("kind", &kind)], number(health));
        }
    }
}

fn of_children(text: &mut Text, resources: &BTreeMap<(Box<str>, Box<str>), u64>) {
    let mut samples = text.family(&CHILD_RESOURCES);
    for ((resource, state), children) in resources {
        samples.add(&[("resource", resource), ("state", state)], children);
    }
}

fn of_queues(text: &mut Text, queues: &[QueueState]) {
    let numbers: [Column<QueueState, Option<u64>>; 4] = [
        (&QUEUE_READY, |queue| Some(queue.stats.ready)),
        (&QUEUE_SCHEDULED, |queue| queue.stats.scheduled),
        (&QUEUE_LENT, |queue| queue.stats.lent),
        (&QUEUE_CONSUMERS, |queue| Some(queue.stats.consumers)),
    ];
    for (family, number) in numbers {
        let mut samples = text.family(family);
        for queue in queues {
            let number = number(queue);
            number
                .into_iter()
                .for_each(|number| samples.add(&[("queue", queue.stats.queue.as_str())], number));
        }
    }
    let mut samples = text.family(&QUEUE_OLDEST);
    for queue in queues {
        let oldest = queue.oldest.map(|oldest| oldest.as_secs_f64());
        oldest.into_iter().for_each(|oldest| samples.add(&[("queue", queue.stats.queue.as_str())], oldest));
    }
}

#[cfg(test)]
mod tests {
    use celeriac_app::resource::ResourceKind;
    use celeriac_app::{Objective, Objectives, SENT_AT_HEADER};
    use celeriac_protocol::QueueName;
    use celeriac_store::QueueStats;

    use super::*;
    use crate::monitoring::Counts;
    use crate::monitoring::parser::{Parsed, Sample, parse, samples};
    use crate::outcome::Outcome;
    use crate::testing::{NOW, delivery, request};

    const WELL: Condition = Condition { is_ready: true, store_answers: true, round_trips: 12 };

    fn snapshot() -> Snapshot {
        let objective = Objective { response: Some(Duration::from_secs(2)), resolution: None };
        let mut counts = Counts::new(Objectives::new([("proj.*", objective)]));
        let mut delivery = delivery(1);
        delivery.message.headers.other = vec![(SENT_AT_HEADER.into(), NOW.as_micros().into())];
        let request = request(delivery);
        counts.started(&request, NOW.saturating_add(Duration::from_secs(3600)));
        counts.started(&request, NOW);
        counts.ran(&request, Duration::from_millis(20));
        counts.ended(&request, &Outcome::Ignored, NOW);
        Snapshot {
            counts,
            node_name: "one@\"here\"".to_owned(),
            app: "demo".to_owned(),
            queues: vec![QueueName::new("q")],
            events_dropped: 9,
            unsettled: 3,
            prefetch_limit: 8,
            deliveries_limit: 1024,
            pools: vec![PoolState { pool: "threads", slots: 2, busy: 1, waiting: 5 }],
            resources: vec![ResourceHealth {
                name: "database".into(),
                kind: ResourceKind::Shared,
                alive: 1,
                builds: 1,
                rebuilds: 4,
                failures: 2,
                last_error: None,
                state: ResourceState::Ready,
            }],
            child_resources: BTreeMap::from([(("client".into(), "ready".into()), 2)]),
        }
    }

    fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        samples.iter().find(|sample| sample.name == name && sample.has(labels)).map(|sample| sample.value)
    }

    #[test]
    fn everything_that_is_known_is_in_the_text() {
        let queue =
            QueueStats { queue: QueueName::new("q"), ready: 7, scheduled: None, lent: Some(1), consumers: 2 };
        let queue = QueueState { stats: queue, oldest: Some(Duration::from_millis(1500)) };
        let samples = samples(&render(&snapshot(), WELL, Some(&[queue])));
        let (task, pool) = (("task", "proj.add"), ("pool", "threads"));
        let response = ("objective", "response");
        for (name, labels, expected) in [
            ("celeriac_worker_info", &[("node", "one@\"here\""), ("app", "demo")][..], 1.0),
            ("celeriac_worker_ready", &[], 1.0),
            ("celeriac_store_answers", &[], 1.0),
            ("celeriac_tasks_ended_total", &[task, ("state", "ignored")], 1.0),
            ("celeriac_task_runtime_seconds_bucket", &[task, ("le", "0.025")], 1.0),
            ("celeriac_task_runtime_seconds_sum", &[task], 0.02),
            ("celeriac_task_response_seconds_count", &[task], 2.0),
            ("celeriac_task_objective_seconds", &[task, response], 2.0),
            ("celeriac_task_objectives_total", &[task, response, ("met", "true")], 1.0),
            ("celeriac_task_objectives_total", &[task, response, ("met", "false")], 1.0),
            ("celeriac_store_round_trips_total", &[], 12.0),
            ("celeriac_child_resources", &[("resource", "client"), ("state", "ready")], 2.0),
            ("celeriac_events_dropped_total", &[], 9.0),
            ("celeriac_deliveries_unsettled", &[], 3.0),
            ("celeriac_prefetch_limit", &[], 8.0),
            ("celeriac_deliveries_limit", &[], 1024.0),
            ("celeriac_pool_slots", &[pool], 2.0),
            ("celeriac_pool_slots_busy", &[pool], 1.0),
            ("celeriac_pool_waiting", &[pool], 5.0),
            ("celeriac_resource_ready", &[("resource", "database")], 1.0),
            ("celeriac_resource_rebuilds_total", &[("resource", "database")], 4.0),
            ("celeriac_queue_ready", &[("queue", "q")], 7.0),
            ("celeriac_queue_lent", &[("queue", "q")], 1.0),
            ("celeriac_queue_oldest_age_seconds", &[("queue", "q")], 1.5),
        ] {
            assert_eq!(value(&samples, name, labels), Some(expected), "{name} {labels:?}");
        }
        assert_eq!(value(&samples, "celeriac_queue_scheduled", &[]), None, "the store cannot say it");
        let resolution = [task, ("objective", "resolution")];
        assert_eq!(value(&samples, "celeriac_task_objective_seconds", &resolution), None, "it has none");
    }

    #[test]
    fn every_name_says_whose_it_is() {
        let families = parse(&render(&snapshot(), WELL, None));
        let names: Vec<String> = families.iter().flat_map(Parsed::names).collect();
        assert!(names.len() > 20 && names.iter().all(|name| name.starts_with("celeriac_")), "{names:?}");
    }

    #[test]
    fn a_store_that_does_not_answer_leaves_out_its_queues_only() {
        let silent = Condition { is_ready: false, store_answers: false, ..WELL };
        let samples = samples(&render(&snapshot(), silent, None));
        assert!(!samples.iter().any(|sample| sample.name.starts_with("celeriac_queue_")));
        assert_eq!(value(&samples, "celeriac_store_answers", &[]), Some(0.0));
        assert_eq!(value(&samples, "celeriac_deliveries_unsettled", &[]), Some(3.0));
    }
}
