//! What a store can do, as data.

/// What only some servers can do. The conformance suites read it to choose their laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Outlives the process: what was published is there after all processes have ended.
    pub durable: bool,
    /// Several processes may use the store at once.
    pub shared: bool,
    /// [`crate::Settler::finish`] stores the result, publishes the follow-ups and settles in one step.
    pub atomic_finish: bool,
    /// [`crate::Delivery::deliveries`] counts every delivery, not only "again".
    pub counts_deliveries: bool,
    /// A lease runs out by time; else it ends with the connection and renewing does nothing.
    pub timed_lease: bool,
    /// [`crate::Delivery::revoked`] is filled by the fetch itself; else the worker asks [`crate::Revocations`].
    pub fetch_checks_revocations: bool,
    /// Messages can be looked at in their queue and removed from its middle.
    pub random_access: bool,
}

impl Capabilities {
    /// A store that can do everything: the embedded ones.
    pub const ALL: Self = Self {
        durable: true,
        shared: true,
        atomic_finish: true,
        counts_deliveries: true,
        timed_lease: true,
        fetch_checks_revocations: true,
        random_access: true,
    };
}
