//! Looking for messages. What is scheduled is found by its task; queues, and what is lent, must be read.

use std::collections::{HashMap, HashSet};

use celeriac_protocol::{Message, QueueName, TaskId, Timestamp, Value, json};
use redis::cmd;

use super::publish::decode;
use super::restore::Held;
use super::schedule::split;
use super::script::read;
use super::{RedisStore, Shared};
use crate::search::Needle;
use crate::{Located, Location, Result, Search, Sighting, Sightings, Sought};

/// How many messages are read at once.
const PORTION: usize = 500;

/// How many tasks are asked for at once.
const TASKS_AT_ONCE: usize = 1000;

/// Takes what is found, and says whether to go on.
type Visitor<'a> = &'a mut (dyn FnMut(Sighting) -> bool + Send);

impl RedisStore {
    pub(super) async fn locate_messages(&self, ids: &[TaskId], effort: usize) -> Result<Located> {
        let wanted: HashSet<&TaskId> = ids.iter().collect();
        let mut found: HashMap<TaskId, Location> = self.failed_places(ids).await?;
        let mut visit = |sighting: Sighting| {
            let Some(id) = sighting.message.headers.id.filter(|id| wanted.contains(id)) else { return true };
            let known = found.get(&id);
            if known.is_none_or(|known| sighting.place.nearness() >= known.nearness()) {
                found.insert(id, sighting.place);
            }
            true
        };
        self.scheduled_of(ids, &mut visit).await?;
        let has_read_all = self.read_messages(effort, &mut visit).await?;
        let places: Vec<_> = ids.iter().map(|id| found.get(id).cloned()).collect();
        Ok(Located { is_complete: has_read_all || places.iter().all(Option::is_some), places })
    }

    pub(super) async fn search_messages(&self, search: Search<'_>) -> Result<Sightings> {
        let Search { sought, limit, effort } = search;
        let mut seen = Sightings { found: Vec::new(), is_complete: true };
        match sought {
            Sought::Tasks(ids) => {
                let wanted: HashSet<&TaskId> = ids.iter().collect();
                let is_sought =
                    |message: &Message| message.headers.id.as_ref().is_some_and(|id| wanted.contains(id));
                let mut visit = seen.collect(limit, &is_sought);
                self.scheduled_of(ids, &mut visit).await?;
                let has_read_all = self.read_messages(effort, &mut visit).await?;
                drop(visit);
                seen.is_complete &= has_read_all;
            }
            Sought::Mention(text) => {
                let needle = Needle::new(text);
                let is_sought = |message: &Message| needle.is_in(message);
                let mut visit = seen.collect(limit, &is_sought);
                let has_read_all = self.read_schedule(effort, &mut visit).await?
                    && self.read_messages(effort, &mut visit).await?;
                drop(visit);
                seen.is_complete &= has_read_all;
            }
        }
        Ok(seen)
    }

    /// The queues of those of these tasks that are among the failed ones.
    async fn failed_places(&self, ids: &[TaskId]) -> Result<HashMap<TaskId, Location>> {
        let shared = &self.shared;
        let mut places = HashMap::new();
        for some in ids.chunks(TASKS_AT_ONCE) {
            let mut scores = cmd("ZMSCORE");
            scores.arg(shared.keys.named("failed")).arg(texts(some));
            let scores: Vec<Option<f64>> =
                read(shared.link.ask("find failed tasks", scores).await?, &shared.link)?;
            let failed = some.iter().zip(scores).filter(|(_, score)| score.is_some());
            let failed: Vec<TaskId> = failed.map(|(id, _)| id.clone()).collect();
            for task in self.failed_tasks(failed).await? {
                places.insert(task.task_id, Location::Failed { queue: task.queue });
            }
        }
        Ok(places)
    }

    /// Visits what is scheduled of these tasks.
    async fn scheduled_of(&self, ids: &[TaskId], visit: Visitor<'_>) -> Result<()> {
        let shared = &self.shared;
        for some in ids.chunks(TASKS_AT_ONCE) {
            let mut get = cmd("HMGET");
            get.arg(shared.keys.named("schedule:tasks")).arg(texts(some));
            let numbers: Vec<Option<String>> =
                read(shared.link.ask("find scheduled tasks", get).await?, &shared.link)?;
            let numbers: Vec<String> =
                numbers.iter().flatten().flat_map(|of_task| of_task.split(' ')).map(str::to_owned).collect();
            for some in numbers.chunks(PORTION) {
                if !shared.visit_scheduled(some, visit).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Visits the schedule, the soonest first, up to so many messages; says whether these were all.
    async fn read_schedule(&self, effort: usize, visit: Visitor<'_>) -> Result<bool> {
        let shared = &self.shared;
        let mut at = 0;
        while at < effort {
            let portion = PORTION.min(effort - at);
            let mut range = cmd("ZRANGE");
            range.arg(shared.keys.named("schedule")).arg(at).arg(at + portion - 1);
            let numbers: Vec<String> =
                read(shared.link.ask("read the schedule", range).await?, &shared.link)?;
            if !shared.visit_scheduled(&numbers, visit).await? {
                return Ok(false);
            }
            if numbers.len() < portion {
                return Ok(true);
            }
            at += portion;
        }
        Ok(false)
    }

    /// Visits what is ready and then what is lent, up to so many messages of each; says whether these were all.
    ///
    /// In this order, because it is the way that messages go.
    async fn read_messages(&self, effort: usize, visit: Visitor<'_>) -> Result<bool> {
        let queues = self.shared.known_queues().await?;
        let mut left = effort;
        for queue in &queues {
            if !self.shared.read_queue(queue, &mut left, visit).await? {
                return Ok(false);
            }
        }
        self.shared.read_lent(effort, visit).await
    }
}

impl Sightings {
    /// Takes what is sought until there are more than so many.
    fn collect<'a>(
        &'a mut self,
        limit: usize,
        is_sought: &'a (dyn Fn(&Message) -> bool + Sync),
    ) -> impl FnMut(Sighting) -> bool + Send + 'a {
        move |sighting| {
            if !is_sought(&sighting.message) {
                return true;
            }
            if self.found.len() == limit {
                self.is_complete = false;
                return false;
            }
            self.found.push(sighting);
            true
        }
    }
}

impl Shared {
    /// Visits these entries of the schedule.
    async fn visit_scheduled(&self, numbers: &[String], visit: Visitor<'_>) -> Result<bool> {
        if numbers.is_empty() {
            return Ok(true);
        }
        let mut both = redis::pipe();
        both.cmd("HMGET").arg(self.keys.named("schedule:messages")).arg(numbers);
        both.cmd("ZMSCORE").arg(self.keys.named("schedule")).arg(numbers);
        type Answers = (Vec<Option<Vec<u8>>>, Vec<Option<f64>>);
        let (entries, due): Answers = read(self.link.ask("read the schedule", both).await?, &self.link)?;
        let now = self.options.clock.now();
        for (entry, due) in entries.into_iter().zip(due) {
            let sighting = entry.zip(due).and_then(|(entry, due)| {
                let (list, message) = split(&entry)?;
                let (message, _) = decode(message)?;
                let (queue, due) = (self.keys.queue_of(list), Timestamp::from_micros(due as i64));
                let place = match due > now {
                    true => Location::Scheduled { queue, due },
                    false => Location::Ready { queue },
                };
                Some(Sighting { place, ahead: None, message })
            });
            if sighting.is_some_and(|sighting| !visit(sighting)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Visits what waits in a queue, the next first.
    async fn read_queue(&self, queue: &QueueName, left: &mut usize, visit: Visitor<'_>) -> Result<bool> {
        let mut ahead = 0;
        for list in self.keys.lists(queue) {
            let mut at: i64 = 0;
            loop {
                let portion = PORTION.min(*left);
                if portion == 0 {
                    return Ok(false);
                }
                let mut range = cmd("LRANGE");
                range.arg(&list).arg(-at - portion as i64).arg(-at - 1);
                let entries: Vec<Vec<u8>> = read(self.link.ask("read a queue", range).await?, &self.link)?;
                for entry in entries.iter().rev() {
                    let found = decode(entry).map(|(message, _)| Sighting {
                        place: Location::Ready { queue: queue.clone() },
                        ahead: Some(ahead),
                        message,
                    });
                    ahead += 1;
                    if found.is_some_and(|sighting| !visit(sighting)) {
                        return Ok(false);
                    }
                }
                *left -= entries.len();
                at += entries.len() as i64;
                if entries.len() < portion {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Visits what is lent, to whomever.
    async fn read_lent(&self, effort: usize, visit: Visitor<'_>) -> Result<bool> {
        let mut records = cmd("HGETALL");
        records.arg(self.keys.named("consumers"));
        let records: HashMap<String, Vec<u8>> =
            read(self.link.ask("read consumers", records).await?, &self.link)?;
        let workers: HashMap<String, String> = records
            .into_iter()
            .filter_map(|(id, record)| {
                let record = json::parse(&record).ok()?;
                Some((id, record.get("worker").and_then(Value::as_str)?.to_owned()))
            })
            .collect();
        let (mut cursor, mut count) = (0_u64, 0);
        loop {
            let mut scan = cmd("HSCAN");
            scan.arg(self.keys.unacked()).arg(cursor).arg("COUNT").arg(PORTION);
            type Page = (u64, Vec<(String, Vec<u8>)>);
            let (next, entries): Page = read(self.link.ask("read what is lent", scan).await?, &self.link)?;
            for (tag, entry) in entries {
                count += 1;
                let worker = consumer_of(&tag).and_then(|consumer| workers.get(consumer)).cloned();
                if lent(&entry, worker.unwrap_or_default()).is_some_and(|sighting| !visit(sighting)) {
                    return Ok(false);
                }
            }
            match next {
                0 => return Ok(true),
                _ if count >= effort => return Ok(false),
                _ => cursor = next,
            }
        }
    }
}

fn texts(ids: &[TaskId]) -> Vec<&str> {
    ids.iter().map(TaskId::as_str).collect()
}

/// The consumer in a tag of ours: see `tag_of` in `lua/shared.lua`.
fn consumer_of(tag: &str) -> Option<&str> {
    tag.strip_prefix("celeriac:")?.split(':').next()
}

fn lent(entry: &[u8], worker: String) -> Option<Sighting> {
    let held = Held::parse(entry)?;
    let (message, _) = decode(&json::to_bytes(&held.message))?;
    let place = Location::Lent { queue: QueueName::new(held.routing_key), worker };
    Some(Sighting { place, ahead: None, message })
}
