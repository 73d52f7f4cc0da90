//! What waits, is lent and consumes.

use std::collections::HashMap;

use celeriac_protocol::{QueueName, Value, json};
use redis::cmd;

use super::Shared;
use super::script::read;
use crate::{QueueStats, Result};

/// The consumers whose lease has not run out: the queues of each, and how much it has of each list.
type Consumers = Vec<(Value, HashMap<String, u64>)>;

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
        let (lengths, scheduled) = self.lengths(names).await?;
        let consumers = self.consumers().await?;
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

    /// The queues that one of ours has declared, by name.
    pub(super) async fn known_queues(&self) -> Result<Vec<QueueName>> {
        let mut members = cmd("SMEMBERS");
        members.arg(self.keys.named("queues"));
        let mut found: Vec<String> = read(self.link.ask("list queues", members).await?, &self.link)?;
        found.sort_unstable();
        Ok(found.into_iter().map(QueueName::from).collect())
    }

    /// The lengths of all lists of these queues, and how much is scheduled for each list.
    async fn lengths(&self, names: &[QueueName]) -> Result<(Vec<u64>, HashMap<String, u64>)> {
        let mut pipeline = redis::pipe();
        for list in names.iter().flat_map(|queue| self.keys.lists(queue)) {
            pipeline.cmd("LLEN").arg(list);
        }
        pipeline.cmd("HGETALL").arg(self.keys.named("schedule:counts"));
        let mut answers: Vec<redis::Value> = read(self.link.ask("count", pipeline).await?, &self.link)?;
        let scheduled = read(answers.pop().unwrap_or(redis::Value::Nil), &self.link)?;
        let lengths: Result<Vec<u64>> = answers.into_iter().map(|length| read(length, &self.link)).collect();
        Ok((lengths?, scheduled))
    }

    async fn consumers(&self) -> Result<Consumers> {
        let alive = self.alive().await?;
        if alive.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for (id, _) in &alive {
            pipeline.cmd("HVALS").arg(self.keys.named(&format!("lent:{id}")));
        }
        let places: Vec<Vec<String>> = read(self.link.ask("count", pipeline).await?, &self.link)?;
        let count = |((_, record), places): ((String, Value), Vec<String>)| {
            let mut lent = HashMap::new();
            for place in places {
                if let Some(list) = list_at(&record, &place) {
                    *lent.entry(list.to_owned()).or_insert(0) += 1;
                }
            }
            (record.get("queues").cloned().unwrap_or(Value::Null), lent)
        };
        Ok(alive.into_iter().zip(places).map(count).collect())
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
