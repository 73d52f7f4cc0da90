//! The names of the keys.

use celeriac_protocol::{GroupId, QueueName, TaskId};

use crate::RedisOptions;

/// The lowest priority of kombu on Redis, which is our 0.
pub(super) const LOWEST: u8 = 9;

/// Names the keys of one store.
pub(super) struct Keys {
    options: RedisOptions,
    own: String,
    unacked: String,
    unacked_index: String,
}

impl Keys {
    pub(super) fn new(options: &RedisOptions) -> Self {
        let prefix = &options.global_keyprefix;
        Self {
            own: format!("{prefix}celeriac:{{tasks}}:"),
            unacked: format!("{prefix}{}", options.unacked_key),
            unacked_index: format!("{prefix}{}", options.unacked_index_key),
            options: options.clone(),
        }
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
    pub(super) fn unacked(&self) -> &str {
        &self.unacked
    }

    /// The sorted set that says since when.
    pub(super) fn unacked_index(&self) -> &str {
        &self.unacked_index
    }

    /// Where the priorities of a queue's lists begin; the first list is consumed first.
    pub(super) fn steps(&self) -> &[u8] {
        &self.options.priority_steps
    }

    /// The step for a priority as kombu counts on Redis, where 0 is consumed first. What lies before the first step
    /// belongs to the last, as in Python, which counts places below 0 from the end.
    ///
    /// Source: `Channel.priority`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn step_of(&self, priority: u8) -> u8 {
        let steps = self.steps();
        steps.iter().rev().find(|step| **step <= priority).or(steps.last()).copied().unwrap_or(0)
    }

    /// How many lists of a queue are in use.
    pub(super) fn priorities(&self) -> u8 {
        let mut steps: Vec<u8> = (0..=LOWEST).map(|priority| self.step_of(priority)).collect();
        steps.sort_unstable();
        steps.dedup();
        steps.len() as u8
    }

    /// The list of a queue for one of the steps.
    ///
    /// Source: `Channel._q_for_pri`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn list(&self, queue: &QueueName, step: u8) -> String {
        let RedisOptions { global_keyprefix: prefix, sep, .. } = &self.options;
        if step == 0 { format!("{prefix}{queue}") } else { format!("{prefix}{queue}{sep}{step}") }
    }

    /// All lists of a queue, the one that is consumed first before the others.
    pub(super) fn lists(&self, queue: &QueueName) -> Vec<String> {
        self.steps().iter().map(|step| self.list(queue, *step)).collect()
    }

    /// The queue of a list.
    pub(super) fn queue_of(&self, list: &str) -> QueueName {
        let name = list.strip_prefix(&self.options.global_keyprefix).unwrap_or(list);
        match name.rsplit_once(&*self.options.sep) {
            Some((queue, step)) if step.parse().is_ok_and(|step| self.steps().contains(&step)) => {
                QueueName::new(queue)
            }
            _ => QueueName::new(name),
        }
    }

    /// The key of a result, which is also the channel on which it is told.
    ///
    /// Source: `KeyValueStoreBackend.get_key_for_task`, `celery/backends/base.py`, Celery 5.7.0.
    pub(super) fn result(&self, id: &TaskId) -> String {
        format!("{}celery-task-meta-{id}", self.options.result_keyprefix)
    }

    /// The key of what a group is made of, and with an ending each the keys of the chord whose header it is.
    ///
    /// Source: `KeyValueStoreBackend.get_key_for_group`, `celery/backends/base.py`, Celery 5.7.0.
    pub(super) fn group(&self, id: &GroupId) -> String {
        format!("{}celery-taskset-meta-{id}", self.options.result_keyprefix)
    }

    /// The set of what is bound to an exchange, and the one that keeps it from being swept.
    ///
    /// Source: `Channel._queue_bind`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn bindings(&self, exchange: &str) -> [String; 2] {
        let prefix = &self.options.global_keyprefix;
        [format!("{prefix}_kombu.binding.{exchange}"), format!("{prefix}_kombu.binding_permanent.{exchange}")]
    }

    /// The channel of a fan-out exchange, for messages without a routing key.
    ///
    /// Source: `Channel._get_publish_topic`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn channel(&self, exchange: &str, routing_key: &str, database: i64) -> String {
        let RedisOptions { global_keyprefix, fanout_prefix, fanout_patterns, .. } = &self.options;
        let fanout_prefix = fanout_prefix.replace("{db}", &database.to_string());
        let channel = format!("{global_keyprefix}{fanout_prefix}{exchange}");
        if *fanout_patterns && !routing_key.is_empty() { format!("{channel}/{routing_key}") } else { channel }
    }

    /// A member of [`Keys::bindings`]: routing key, pattern and queue. A direct exchange has no patterns.
    pub(super) fn binding(&self, queue: &QueueName) -> String {
        let sep = &self.options.sep;
        format!("{queue}{sep}{sep}{queue}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(steps: &[u8]) -> Keys {
        Keys::new(&RedisOptions { priority_steps: steps.to_vec(), ..RedisOptions::default() })
    }

    #[test]
    fn a_priority_goes_to_the_list_that_kombu_would_choose() {
        let steps = |of: &[u8]| -> Vec<u8> {
            let keys = keys(of);
            (0..=9).map(|priority| keys.step_of(priority)).collect()
        };
        assert_eq!(steps(&[0, 3, 6, 9]), [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]);
        assert_eq!(steps(&[2, 5]), [5, 5, 2, 2, 2, 5, 5, 5, 5, 5]);
        assert_eq!((keys(&[0, 3, 6, 9]).priorities(), keys(&[2, 5]).priorities()), (4, 2));
    }

    #[test]
    fn a_list_leads_back_to_its_queue() {
        let prefixed = RedisOptions {
            global_keyprefix: "tea:".to_owned(),
            sep: ":".to_owned(),
            ..RedisOptions::default()
        };
        for keys in [Keys::new(&prefixed), keys(&[0, 3, 6, 9])] {
            for queue in ["celery", "a\x06\x16b", "", "9"].map(QueueName::new) {
                for list in keys.lists(&queue) {
                    assert_eq!(keys.queue_of(&list), queue);
                }
            }
        }
    }

    #[test]
    fn a_prefix_is_before_every_key_but_those_of_results() {
        let keys = Keys::new(&RedisOptions {
            global_keyprefix: "tea:".to_owned(),
            result_keyprefix: "cup_".to_owned(),
            sep: "|".to_owned(),
            ..RedisOptions::default()
        });
        assert_eq!(keys.lists(&QueueName::new("q")), ["tea:q", "tea:q|3", "tea:q|6", "tea:q|9"]);
        assert_eq!((keys.unacked(), keys.unacked_index()), ("tea:unacked", "tea:unacked_index"));
        assert_eq!(keys.named("wake"), "tea:celeriac:{tasks}:wake");
        assert_eq!(keys.bindings("q"), ["tea:_kombu.binding.q", "tea:_kombu.binding_permanent.q"]);
        assert_eq!(keys.binding(&QueueName::new("q")), "q||q");
        assert_eq!(keys.channel("celery.pidbox", "", 3), "tea:/3.celery.pidbox");
        assert_eq!(keys.result(&TaskId::new("1")), "cup_celery-task-meta-1");
        assert_eq!(keys.group(&GroupId::new("1")), "cup_celery-taskset-meta-1");
    }
}
