//! Looking for messages.

use std::collections::{HashMap, HashSet};

use celeriac_protocol::{Headers, Message, QueueName, TaskId};

use super::queues::{Content, Stored};
use super::state::State;
use crate::search::Needle;
use crate::{Location, Search, Sighting, Sightings, Sought};

impl State {
    /// Where the messages of these tasks are.
    pub(super) fn locate(&self, ids: &[TaskId]) -> Vec<Option<Location>> {
        let wanted: HashSet<&TaskId> = ids.iter().collect();
        let mut found: HashMap<&TaskId, Location> = HashMap::new();
        for (place, _, stored) in self.queues.places() {
            let id = message_of(stored).and_then(|message| message.headers.id.as_ref());
            if let Some(id) = id.filter(|id| wanted.contains(id)) {
                found.entry(id).or_insert(place);
            }
        }
        let failed = |id| self.failed.get(id).map(|task| Location::Failed { queue: task.queue.clone() });
        ids.iter().map(|id| found.get(id).cloned().or_else(|| failed(id))).collect()
    }

    /// The headers of the first message of each priority in a queue.
    pub(super) fn first_waiting(&self, queue: &QueueName) -> Vec<Headers> {
        let mut seen = HashSet::new();
        let waits =
            |place: &Location| matches!(place, Location::Ready { queue: in_queue } if in_queue == queue);
        let waiting = self.queues.places().filter(|(place, _, _)| waits(place));
        let messages = waiting.filter_map(|(_, _, stored)| message_of(stored));
        let first = messages.filter(|message| seen.insert(message.properties.priority));
        first.map(|message| message.headers.clone()).collect()
    }

    /// The messages that are looked for.
    pub(super) fn search(&self, search: Search<'_>) -> Sightings {
        let Search { sought, limit, .. } = search;
        let is_sought: Box<dyn Fn(&Message) -> bool> = match sought {
            Sought::Tasks(ids) => {
                let ids: HashSet<&TaskId> = ids.iter().collect();
                Box::new(move |message| message.headers.id.as_ref().is_some_and(|id| ids.contains(id)))
            }
            Sought::Mention(text) => {
                let needle = Needle::new(text);
                Box::new(move |message| needle.is_in(message))
            }
        };
        let sightings = self.queues.places().filter_map(|(place, ahead, stored)| {
            let message = message_of(stored).filter(|message| is_sought(message))?;
            Some(Sighting { place, ahead, message: message.clone() })
        });
        let mut found: Vec<Sighting> = sightings.take(limit.saturating_add(1)).collect();
        let is_complete = found.len() <= limit;
        found.truncate(limit);
        Sightings { found, is_complete }
    }
}

fn message_of(stored: &Stored) -> Option<&Message> {
    match &stored.content {
        Content::Message(message) => Some(message),
        Content::Undecodable(_) => None,
    }
}
