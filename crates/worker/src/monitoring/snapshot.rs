//! What the loop tells of itself at a scrape.

use std::collections::BTreeMap;

use celeriac_app::resource::ResourceHealth;
use celeriac_protocol::QueueName;

use super::counts::Counts;

/// The state of a worker at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// What has happened until now.
    pub(crate) counts: Counts,
    /// The node name.
    pub(crate) node_name: String,
    /// The name of the app.
    pub(crate) app: String,
    /// The queues that it takes tasks from.
    pub(crate) queues: Vec<QueueName>,
    /// How many events of tasks were dropped that somebody would have heard.
    pub(crate) events_dropped: u64,
    /// Deliveries that are not settled.
    pub(crate) unsettled: usize,
    /// How many are wanted in hand, as long as no pool is fast.
    pub(crate) prefetch_limit: usize,
    /// How many there may be at most.
    pub(crate) deliveries_limit: usize,
    /// One for each pool.
    pub(crate) pools: Vec<PoolState>,
    /// The resources of the worker's own process.
    pub(crate) resources: Vec<ResourceHealth>,
    /// Of each resource of children and each state that one is in, how many children have it so.
    pub(crate) child_resources: BTreeMap<(Box<str>, Box<str>), u64>,
}

/// The state of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolState {
    /// Its name.
    pub(crate) pool: &'static str,
    /// How many jobs it runs at once when nothing is wrong.
    pub(crate) slots: usize,
    /// How many it runs.
    pub(crate) busy: usize,
    /// How many requests wait for it.
    pub(crate) waiting: usize,
}
