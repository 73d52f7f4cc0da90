//! What monitoring asks the loop.

use std::collections::BTreeMap;

use celeriac_protocol::Value;
use tokio::time::Instant;

use crate::consumer::questions::rows_of;
use crate::consumer::{Consumer, Lane};
use crate::events::Watch;
use crate::monitoring::{Counts, PoolState, Snapshot, Standing};

impl Lane {
    /// Whether the pool takes no job although it has none.
    fn is_shut(&self) -> bool {
        let idle = self.running == 0 && self.preparing == 0;
        self.held_up || (idle && self.pool.size() > 0 && self.pool.free() == 0)
    }
}

impl Consumer {
    /// Says that the loop turns, and how it stands.
    pub(super) fn pulse(&self) {
        if let Some(signs) = &self.signs {
            signs.vitals().turned(self.standing(), Instant::now());
        }
    }

    fn standing(&self) -> Standing {
        if !self.phase.is_working() {
            return Standing::Stopping;
        }
        if !self.readiness.is_ready() {
            return Standing::Starting;
        }
        if self.queues.is_empty() {
            return Standing::Paused;
        }
        if !self.readiness.can_run() {
            return Standing::Unable;
        }
        match self.lanes.iter().find(|lane| lane.is_shut()) {
            Some(lane) => Standing::Closed(lane.pool.kind().as_str()),
            None => Standing::Working,
        }
    }

    /// The state of the worker at this moment.
    pub(super) fn snapshot(&self) -> Box<Snapshot> {
        let pool = |lane: &Lane| PoolState {
            pool: lane.pool.kind().as_str(),
            slots: lane.pool.size(),
            busy: lane.running,
            waiting: lane.waiting.len(),
        };
        Box::new(Snapshot {
            counts: self.counts.clone().unwrap_or_default(),
            node_name: self.options.node_name.clone(),
            app: self.app.name().to_owned(),
            queues: self.queues.clone(),
            events_dropped: self.watch.as_ref().map_or(0, Watch::dropped),
            unsettled: self.unsettled,
            prefetch_limit: self.prefetch.count(),
            deliveries_limit: self.prefetch.most(),
            pools: self.lanes.iter().map(pool).collect(),
            resources: self.health.snapshot(),
            child_resources: self.child_resources(),
        })
    }

    /// How many children have which resource in which state, as they said last.
    fn child_resources(&self) -> BTreeMap<(Box<str>, Box<str>), u64> {
        let mut counts = BTreeMap::new();
        let pools = self.lanes.iter().filter(|lane| lane.pool.kind().has_children());
        for child in pools.flat_map(|lane| rows_of(lane.pool.facts())) {
            let resources = child.get("resources").cloned().unwrap_or_default();
            for resource in rows_of(resources) {
                let text = |name: &str| resource.get(name).and_then(Value::as_str).map(Box::<str>::from);
                if let (Some(name), Some(state)) = (text("name"), text("state")) {
                    *counts.entry((name, state)).or_insert(0) += 1;
                }
            }
        }
        counts
    }

    /// What is counted, if somebody wants to know.
    pub(super) fn count(&mut self, count: impl FnOnce(&mut Counts)) {
        if let Some(counts) = &mut self.counts {
            count(counts);
        }
    }
}
