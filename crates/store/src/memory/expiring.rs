//! A map whose entries vanish at their time.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use celeriac_protocol::Timestamp;

/// Values that count until a moment each.
///
/// What has expired is gone after [`Expiring::sweep`], which every operation of the store begins with.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    values: HashMap<K, (V, Timestamp)>,
    /// When to look at which key. Entries of values that were replaced or removed stay until their time.
    deadlines: BTreeSet<(Timestamp, K)>,
}

impl<K, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), deadlines: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord, V> Expiring<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V, until: Timestamp) {
        self.deadlines.insert((until, key.clone()));
        self.values.insert(key, (value, until));
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(value, _)| value)
    }

    /// The value to change, which is kept until then, whatever was said before.
    pub(super) fn keep(&mut self, key: &K, until: Timestamp) -> Option<&mut V> {
        let (value, kept_until) = self.values.get_mut(key)?;
        // Its earlier deadline finds out that it has a later one.
        if until < *kept_until {
            self.deadlines.insert((until, key.clone()));
        }
        *kept_until = until;
        Some(value)
    }

    /// The value to change; it is kept as long as before.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key).map(|(value, _)| value)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.values.remove(key);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter().map(|(key, (value, _))| (key, value))
    }

    /// Up to so many keys, those first whose values are kept longest.
    pub(super) fn longest(&self, limit: usize) -> Vec<K> {
        let mut kept: Vec<(Timestamp, &K)> =
            self.values.iter().map(|(key, (_, until))| (*until, key)).collect();
        kept.sort_unstable_by(|one, other| other.cmp(one));
        kept.into_iter().take(limit).map(|(_, key)| key.clone()).collect()
    }

    /// Removes what has expired by now.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        while self.deadlines.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, key)) = self.deadlines.pop_first() else { break };
            match self.values.get(&key).map(|(_, until)| *until) {
                Some(until) if until <= now => self.remove(&key),
                Some(until) => drop(self.deadlines.insert((until, key))),
                None => {}
            }
        }
    }
}
