//! The metrics that there are.

use super::text::{Family, Kind};

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, kind, unit: None, help }
}

const fn seconds(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, kind, unit: Some("seconds"), help }
}

pub(super) const WORKER: Family = family("celeriac_worker", Kind::Info, "The worker that answers.");
pub(super) const READY: Family =
    family("celeriac_worker_ready", Kind::Gauge, "1 while fetching makes progress, as /ready says.");
pub(super) const STORE: Family = family(
    "celeriac_store_answers",
    Kind::Gauge,
    "1 while the store answers the question it is asked every second.",
);
pub(super) const ROUND_TRIPS: Family =
    family("celeriac_store_round_trips", Kind::Counter, "Requests that the worker has sent to its store.");
pub(super) const ENDED: Family =
    family("celeriac_tasks_ended", Kind::Counter, "Requests that ended, by how they did.");
pub(super) const RUNTIME: Family =
    seconds("celeriac_task_runtime_seconds", Kind::Histogram, "How long tasks ran.");
pub(super) const RESPONSE: Family = seconds(
    "celeriac_task_response_seconds",
    Kind::Histogram,
    "From sending until the start, of first runs whose producer said when it sent.",
);
pub(super) const RESOLUTION: Family = seconds(
    "celeriac_task_resolution_seconds",
    Kind::Histogram,
    "From the first sending until success or failure, retries included.",
);
pub(super) const OBJECTIVE: Family = seconds(
    "celeriac_task_objective_seconds",
    Kind::Gauge,
    "How soon a task should start (response) or be done (resolution), as the settings say.",
);
pub(super) const OBJECTIVES: Family = family(
    "celeriac_task_objectives",
    Kind::Counter,
    "Requests that started or were done as soon as they should, or not.",
);
pub(super) const REFUSED: Family = family(
    "celeriac_deliveries_refused",
    Kind::Counter,
    "Messages that nobody could run, by the code of the reason.",
);
pub(super) const EVENTS_DROPPED: Family = family(
    "celeriac_events_dropped",
    Kind::Counter,
    "Events of tasks that were dropped and that somebody would have heard.",
);
pub(super) const UNSETTLED: Family =
    family("celeriac_deliveries_unsettled", Kind::Gauge, "Deliveries in hand that are not settled.");
pub(super) const PREFETCH: Family = family(
    "celeriac_prefetch_limit",
    Kind::Gauge,
    "Slots times the prefetch multiplier: prefetch_count of stats. More are in hand where a pool is fast or several share.",
);
pub(super) const MOST: Family = family(
    "celeriac_deliveries_limit",
    Kind::Gauge,
    "How many deliveries may be unsettled at the very most.",
);
pub(super) const SLOTS: Family =
    family("celeriac_pool_slots", Kind::Gauge, "How many tasks a pool runs at once when nothing is wrong.");
pub(super) const BUSY: Family =
    family("celeriac_pool_slots_busy", Kind::Gauge, "How many tasks a pool has in hand.");
pub(super) const WAITING: Family = family(
    "celeriac_pool_waiting",
    Kind::Gauge,
    "How many requests wait in the worker for a slot of a pool.",
);
pub(super) const RESTARTS: Family = family(
    "celeriac_child_restarts",
    Kind::Counter,
    "Child processes that had to be replaced, by the reason of their end.",
);
pub(super) const RENEWALS: Family =
    family("celeriac_lease_renewals", Kind::Counter, "How often the lease of all deliveries was renewed.");
pub(super) const RESOURCE_READY: Family = family(
    "celeriac_resource_ready",
    Kind::Gauge,
    "1 while a resource of the worker's own process is in use.",
);
pub(super) const RESOURCE_ALIVE: Family =
    family("celeriac_resource_alive", Kind::Gauge, "How many values of a resource there are.");
pub(super) const RESOURCE_REBUILDS: Family = family(
    "celeriac_resource_rebuilds",
    Kind::Counter,
    "How often a resource was built again after a failed check or a panic.",
);
pub(super) const RESOURCE_FAILURES: Family =
    family("celeriac_resource_failures", Kind::Counter, "How often a resource could not be built.");
pub(super) const CHILD_RESOURCES: Family = family(
    "celeriac_child_resources",
    Kind::Gauge,
    "How many children have a resource of their process in a state: waiting, ready, failing or closed.",
);
pub(super) const QUEUE_READY: Family =
    family("celeriac_queue_ready", Kind::Gauge, "Messages in a queue that could be delivered now.");
pub(super) const QUEUE_SCHEDULED: Family =
    family("celeriac_queue_scheduled", Kind::Gauge, "Messages for a queue that are held for later.");
pub(super) const QUEUE_LENT: Family =
    family("celeriac_queue_lent", Kind::Gauge, "Messages of a queue that workers hold and have not settled.");
pub(super) const QUEUE_OLDEST: Family = seconds(
    "celeriac_queue_oldest_age_seconds",
    Kind::Gauge,
    "How long the oldest message that has its turn next has waited, as far as its producer said when it sent.",
);
pub(super) const QUEUE_CONSUMERS: Family =
    family("celeriac_queue_consumers", Kind::Gauge, "Live consumers of a queue.");
