//! The names of the keys.

use celeriac_protocol::{QueueName, TaskId};

/// What kombu puts between a queue and its priority, and between the parts of a binding.
///
/// Source: `Channel.sep`, `kombu/transport/redis.py`, kombu 5.7.0.
pub(super) const SEPARATOR: &str = "\x06\x16";
/// Where the priorities of kombu's four lists begin; the first list is consumed first.
///
/// Source: `PRIORITY_STEPS`, `kombu/transport/redis.py`, kombu 5.7.0.
pub(super) const STEPS: [u8; 4] = [0, 3, 6, 9];
/// The lowest priority of kombu on Redis, which is our 0.
pub(super) const LOWEST: u8 = 9;

/// Names the keys of one store.
pub(super) struct Keys {
    own: String,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { own: "celeriac:{tasks}:".to_owned() }
    }

    /// What all keys of our own begin with. The part in braces keeps them together on a cluster.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// A key of our own.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.own)
    }

    /// The hash of what is lent.
    pub(super) fn unacked(&self) -> &'static str {
        "unacked"
    }

    /// The sorted set that says since when.
    pub(super) fn unacked_index(&self) -> &'static str {
        "unacked_index"
    }

    /// The list of a queue for one of the [`STEPS`].
    ///
    /// Source: `Channel._q_for_pri`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn list(&self, queue: &QueueName, step: u8) -> String {
        if step == 0 { queue.to_string() } else { format!("{queue}{SEPARATOR}{step}") }
    }

    /// All lists of a queue, the one that is consumed first before the others.
    pub(super) fn lists(&self, queue: &QueueName) -> [String; STEPS.len()] {
        STEPS.map(|step| self.list(queue, step))
    }

    /// The queue of a list.
    pub(super) fn queue_of(&self, list: &str) -> QueueName {
        match list.rsplit_once(SEPARATOR) {
            Some((queue, step)) if step.parse().is_ok_and(|step| STEPS.contains(&step)) => {
                QueueName::new(queue)
            }
            _ => QueueName::new(list),
        }
    }

    /// The key of a result, which is also the channel on which it is told.
    ///
    /// Source: `KeyValueStoreBackend.get_key_for_task`, `celery/backends/base.py`, Celery 5.7.0.
    pub(super) fn result(&self, id: &TaskId) -> String {
        format!("celery-task-meta-{id}")
    }

    /// The set of what is bound to a direct exchange, and the one that keeps it from being swept.
    ///
    /// Source: `Channel._queue_bind`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn bindings(&self, exchange: &str) -> [String; 2] {
        [format!("_kombu.binding.{exchange}"), format!("_kombu.binding_permanent.{exchange}")]
    }
}

/// The list among [`STEPS`] for a priority as kombu counts on Redis, where 0 is consumed first.
///
/// Source: `Channel.priority`, `kombu/transport/redis.py`, kombu 5.7.0.
pub(super) fn step_of(priority: u8) -> u8 {
    STEPS.into_iter().rev().find(|step| *step <= priority).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_goes_to_the_list_that_kombu_would_choose() {
        let steps: Vec<u8> = (0..=9).map(step_of).collect();
        assert_eq!(steps, [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]);
    }

    #[test]
    fn a_list_leads_back_to_its_queue() {
        let keys = Keys::new();
        for queue in ["celery", "a\x06\x16b", "", "9"].map(QueueName::new) {
            for list in keys.lists(&queue) {
                assert_eq!(keys.queue_of(&list), queue);
            }
        }
    }
}
