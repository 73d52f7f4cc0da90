//! What a store can do, as data.

/// What only some servers can do. The conformance suites read it to choose their laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Outlives the process: what was published is there after all processes have ended.
    pub durable: bool,
    /// Several processes may use the store at once.
    pub shared: bool,
    /// [`crate::Broker::publish`] makes all messages of one call visible together, and [`crate::Broadcasts::broadcast_all`]
    /// sends all of one call or none.
    pub atomic_publish: bool,
    /// [`crate::Settler::finish`] publishes the follow-ups, stores the result and settles in one step.
    pub atomic_finish: bool,
    /// How many priorities a queue tells apart: 10 (all), fewer where neighbours share a place, 1 (none).
    pub priorities: u8,
    /// A consumer of several queues gets the highest priority over all of them first.
    pub priorities_across_queues: bool,
    /// A consumer of several queues gets the longest waiting over all of them first, among equal priorities.
    pub age_across_queues: bool,
    /// What is requeued, released or lost to a dead consumer comes next, before what waits in its queue.
    pub returns_to_head: bool,
    /// [`crate::Delivery::deliveries`] counts every delivery, not only "again".
    pub counts_deliveries: bool,
    /// A lease runs out by time; else it ends with the connection and renewing does nothing.
    pub timed_lease: bool,
    /// [`crate::Delivery::revoked`] is filled by the fetch itself; else the worker asks [`crate::Revocations`].
    pub fetch_checks_revocations: bool,
    /// Messages can be looked at in their queue, and removed from the middle of it.
    pub random_access: bool,
    /// Scheduled messages can be looked at and removed.
    pub schedule_access: bool,
    /// [`crate::Broker::queues`] lists every queue that it knows.
    pub lists_queues: bool,
    /// Queues can be bound to fan-out exchanges; else only those who listen at that moment hear what is published there.
    pub fanout_bindings: bool,
}

impl Capabilities {
    /// A store that can do everything: the embedded ones.
    pub const ALL: Self = Self {
        durable: true,
        shared: true,
        atomic_publish: true,
        atomic_finish: true,
        priorities: 10,
        priorities_across_queues: true,
        age_across_queues: true,
        returns_to_head: true,
        counts_deliveries: true,
        timed_lease: true,
        fetch_checks_revocations: true,
        random_access: true,
        schedule_access: true,
        lists_queues: true,
        fanout_bindings: true,
    };
}
