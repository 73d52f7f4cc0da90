//! What waits, is lent and consumes.

use std::collections::HashMap;

use celeriac_protocol::{Headers, QueueName, Value, json};
use redis::cmd;

use super::Shared;
use super::publish::decode;
use super::script::read;
use crate::{QueueStats, Result};

/// The consumers whose lease has not run out: the queues of each, and how much it has of each list.
type Consumers = Vec<(Value, HashMap<String, u64>)>;

/// What is counted of some queues.
struct Counts {
    /// Of all lists of the first queue, then of the next.
    lengths: Vec<u64>,
    /// How much is for later, by list.
    scheduled: HashMap<String, u64>,
    consumers: Consumers,
}

impl Shared {
    /// The state of these queues, or of all that are known.
    pub(super) async fn queue_stats(&self, names: &[QueueName]) -> Result<Vec<QueueStats>> {
        let known;
        let names = match names {
            [] => {
                known = self.known_queues().await?;
                &known
            }
            names => names,
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let alive = self.alive().await?;
        let Counts { lengths, scheduled, consumers } = self.counts(names, alive).await?;
        let stats = names.iter().zip(lengths.chunks(self.keys.steps().len())).map(|(queue, lengths)| {
            let lists = self.keys.lists(queue);
            let of_lists =
                |counts: &HashMap<String, u64>| lists.iter().filter_map(|list| counts.get(list)).sum();
            QueueStats {
                queue: queue.clone(),
                ready: lengths.iter().sum(),
                scheduled: Some(of_lists(&scheduled)),
                lent: Some(consumers.iter().map(|(_, lent)| of_lists(lent)).sum::<u64>()),
                consumers: consumers.iter().filter(|(queues, _)| names_queue(queues, queue)).count() as u64,
            }
        });
        Ok(stats.collect())
    }

    /// The headers of what is popped next from each list of these queues.
    pub(super) async fn first_waiting(&self, names: &[QueueName]) -> Result<Vec<Vec<Headers>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for list in names.iter().flat_map(|queue| self.keys.lists(queue)) {
            pipeline.cmd("LINDEX").arg(list).arg(-1);
        }
        let firsts: Vec<Option<Vec<u8>>> =
            read(self.link.ask("look at queues", pipeline).await?, &self.link)?;
        let headers = |envelope: &Vec<u8>| decode(envelope).map(|(message, _)| message.headers);
        let of_queue = |lists: &[Option<Vec<u8>>]| lists.iter().flatten().filter_map(headers).collect();
        Ok(firsts.chunks(self.keys.steps().len()).map(of_queue).collect())
    }

    /// The queues that one of ours has declared, by name.
    pub(super) async fn known_queues(&self) -> Result<Vec<QueueName>> {
        let mut members = cmd("SMEMBERS");
        members.arg(self.keys.named("queues"));
        let mut found: Vec<String> = read(self.link.ask("list queues", members).await?, &self.link)?;
        found.sort_unstable();
        Ok(found.into_iter().map(QueueName::from).collect())
    }

    /// How much is where at one moment: no message is between two places.
    async fn counts(&self, names: &[QueueName], alive: Vec<(String, Value)>) -> Result<Counts> {
        let mut pipeline = redis::pipe();
        for list in names.iter().flat_map(|queue| self.keys.lists(queue)) {
            pipeline.cmd("LLEN").arg(list);
        }
        pipeline.cmd("HGETALL").arg(self.keys.named("schedule:counts"));
        for (id, _) in &alive {
            pipeline.cmd("HVALS").arg(self.keys.named(&format!("lent:{id}")));
        }
        pipeline.atomic();
        let mut answers: Vec<redis::Value> = read(self.link.ask("count", pipeline).await?, &self.link)?;
        let places = answers.split_off(answers.len().saturating_sub(alive.len()));
        let scheduled = read(answers.pop().unwrap_or(redis::Value::Nil), &self.link)?;
        let lengths = answers.into_iter().map(|length| read(length, &self.link)).collect::<Result<_>>()?;
        let consumers = alive.into_iter().zip(places).map(|((_, record), places)| {
            let places: Vec<String> = read(places, &self.link)?;
            let mut lent = HashMap::new();
            for list in places.iter().filter_map(|place| list_at(&record, place)) {
                *lent.entry(list.to_owned()).or_insert(0) += 1;
            }
            Ok((record.get("queues").cloned().unwrap_or(Value::Null), lent))
        });
        let consumers = consumers.collect::<Result<_>>()?;
        Ok(Counts { lengths, scheduled, consumers })
    }

    /// The consumers whose lease has not run out, with what the server knows of them.
    async fn alive(&self) -> Result<Vec<(String, Value)>> {
        type Answers = (HashMap<String, Vec<u8>>, Vec<(String, f64)>, (i64, i64));
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.keys.named("consumers"));
        pipeline.cmd("ZRANGE").arg(self.keys.named("leases")).arg(0).arg(-1).arg("WITHSCORES");
        pipeline.cmd("TIME");
        let (records, leases, time): Answers = read(self.link.ask("count", pipeline).await?, &self.link)?;
        let leases: HashMap<String, f64> = leases.into_iter().collect();
        let now = self.time_at(time).as_micros();
        let alive = records
            .into_iter()
            .filter(|(id, _)| leases.get(id).is_some_and(|ends| *ends > now as f64))
            .filter_map(|(id, record)| Some((id, json::parse(&record).ok()?)));
        Ok(alive.collect())
    }
}

/// The list at a place of a consumer's record, which counts from 1 and may be marked as started.
fn list_at<'record>(record: &'record Value, place: &str) -> Option<&'record str> {
    let place: usize = place.trim_end_matches('s').parse().ok()?;
    record.get("lists")?.as_list()?.get(place.checked_sub(1)?)?.as_str()
}

fn names_queue(queues: &Value, queue: &QueueName) -> bool {
    queues.as_list().is_some_and(|queues| queues.iter().any(|name| name.as_str() == Some(queue.as_str())))
}
