//! Gives back what stock Celery workers held when they died.
//!
//! Source: `QoS.restore_visible`, `QoS.restore_by_tag`, `Channel._do_restore_message`, `kombu/transport/redis.py`, kombu 5.7.0.
//! Theirs is several steps under a lock; ours is one script, so both may be at it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_protocol::{QueueName, Value, json};
use redis::FromRedisValue;
use tokio::time::Instant;

use super::bindings::{Binding, queues_of};
use super::script::{OVERDUE, RESTORE, read};
use super::{Shared, lock};
use crate::Result;

/// How many messages one script looks at.
const PAGE: usize = 100;
/// How many of these there are in one search; what is left waits for the next.
const MOST_PAGES: usize = 10;
/// The longest time between two searches, which is kombu's `unacked_restore_interval`.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// When to search, and what the last search found.
#[derive(Default)]
pub(super) struct Restoring {
    next: Mutex<Option<Instant>>,
    round: Mutex<Round>,
}

/// One way through all that is overdue. It takes more than one search where more than a search looks at stays.
#[derive(Clone, Copy, Default)]
struct Round {
    /// How many of the oldest have been looked at and stay.
    passed: usize,
    /// How many of these are no message of kombu's.
    unreadable: usize,
    /// The same of the round before.
    unreadable_before: usize,
}

/// An entry of `unacked`, as the server gives it.
pub(super) struct Overdue {
    tag: Vec<u8>,
    score: Vec<u8>,
    entry: Vec<u8>,
}

/// What an entry says.
pub(super) struct Held {
    pub(super) message: Value,
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

impl Restoring {
    /// Whether it is time for a search; if so, the next time is set.
    fn is_due(&self, pause: Duration) -> bool {
        let now = Instant::now();
        let mut next = lock(&self.next);
        let due = next.is_none_or(|next| next <= now);
        if due {
            *next = Some(now + pause);
        }
        due
    }
}

impl Shared {
    /// Searches, unless the last search was a moment ago. Nobody waits for it.
    pub(super) fn restore_beside(self: &Arc<Self>) {
        let pause = (self.options.redis.visibility_timeout / 3).min(LONGEST_PAUSE);
        if !self.restoring.is_due(pause) {
            return;
        }
        let shared = Arc::clone(self);
        drop(self.io.spawn(async move {
            match shared.restore_overdue().await {
                Ok(0) => {}
                Ok(restored) => tracing::info!(restored, "gave back what silent Celery workers held"),
                Err(error) => {
                    tracing::warn!(%error, "could not look for what silent Celery workers hold");
                }
            }
        }));
    }

    /// Gives back what has been held for longer than the visibility timeout, and says how much that was.
    pub(super) async fn restore_overdue(&self) -> Result<u64> {
        let (mut restored, mut round) = (0, *lock(&self.restoring.round));
        for _ in 0..MOST_PAGES {
            let (seen, ours, found) = self.overdue(round.passed).await?;
            let mut unreadable = 0;
            let readable = self.with_lists(found, &mut unreadable).await?;
            let back = self.restore(&readable).await?;
            restored += back;
            // What could not go back may still be there; if not, the next round sees what is passed over for it.
            let not_back = readable.len().saturating_sub(usize::try_from(back).unwrap_or(usize::MAX));
            round.passed += unreadable + ours + not_back;
            round.unreadable += unreadable;
            if seen < PAGE {
                round = self.begin_anew(round);
                break;
            }
        }
        *lock(&self.restoring.round) = round;
        Ok(restored)
    }

    /// The round after this one. Says once how much is no message.
    fn begin_anew(&self, Round { unreadable, unreadable_before, .. }: Round) -> Round {
        if unreadable != unreadable_before && unreadable > 0 {
            let key = self.keys.unacked();
            tracing::warn!(key, unreadable, "some of what is lent is no message of kombu's, and stays");
        }
        Round { unreadable_before: unreadable, ..Round::default() }
    }

    /// One page: how many the server looked at, how many are ours, and the others.
    pub(super) async fn overdue(&self, pass_over: usize) -> Result<(usize, usize, Vec<Overdue>)> {
        let timeout = self.options.redis.visibility_timeout.as_micros();
        let mut call = self.plain_script(&OVERDUE);
        call.arg(u64::try_from(timeout).unwrap_or(u64::MAX)).arg(pass_over).arg(PAGE);
        let answer = call.run("look for what is overdue", &self.link).await?;
        let mut parts = <Vec<redis::Value>>::from_redis_value(answer)
            .map_err(|error| self.link.failed(error.to_string()))?
            .into_iter();
        let seen = read(parts.next().unwrap_or(redis::Value::Nil), &self.link)?;
        let ours = read(parts.next().unwrap_or(redis::Value::Nil), &self.link)?;
        let mut found = Vec::new();
        while let (Some(tag), Some(score), Some(entry)) = (parts.next(), parts.next(), parts.next()) {
            let (tag, score, entry) =
                (read(tag, &self.link)?, read(score, &self.link)?, read(entry, &self.link)?);
            found.push(Overdue { tag, score, entry });
        }
        Ok((seen, ours, found))
    }

    /// The lists that each of these goes to, and the message as it is then. What makes no sense is counted and left.
    async fn with_lists(
        &self,
        found: Vec<Overdue>,
        unreadable: &mut usize,
    ) -> Result<Vec<(Overdue, Vec<String>, Vec<u8>)>> {
        let held: Vec<(Overdue, Option<Held>)> = found
            .into_iter()
            .map(|overdue| {
                let held = Held::parse(&overdue.entry);
                (overdue, held)
            })
            .collect();
        let exchanges = held.iter().filter_map(|(_, held)| Some(held.as_ref()?.exchange.as_str()));
        let bindings = self.bindings(exchanges.filter(|exchange| !exchange.is_empty()).collect()).await?;
        let mut readable = Vec::new();
        for (overdue, held) in held {
            let lists = held.as_ref().map_or(Vec::new(), |held| self.lists_of(held, &bindings));
            match held {
                Some(held) if !lists.is_empty() => readable.push((overdue, lists, held.redelivered())),
                _ => *unreadable += 1,
            }
        }
        Ok(readable)
    }

    /// The bindings of these exchanges.
    async fn bindings(&self, exchanges: HashSet<&str>) -> Result<HashMap<String, Vec<Binding>>> {
        if exchanges.is_empty() {
            return Ok(HashMap::new());
        }
        let mut pipeline = redis::pipe();
        for exchange in &exchanges {
            let [key, _] = self.keys.bindings(exchange);
            pipeline.cmd("SMEMBERS").arg(key);
        }
        let members: Vec<Vec<Vec<u8>>> = read(self.link.ask("read bindings", pipeline).await?, &self.link)?;
        let separator = &*self.options.redis.sep;
        let parse = |members: Vec<Vec<u8>>| {
            members.iter().filter_map(|member| Binding::parse(member, separator)).collect()
        };
        Ok(exchanges.into_iter().map(str::to_owned).zip(members.into_iter().map(parse)).collect())
    }

    /// Where a message goes. kombu drops what no binding matches; here it goes to the queue of the routing key's name,
    /// which is what a queue of Celery's is bound by unless somebody says otherwise.
    fn lists_of(&self, held: &Held, bindings: &HashMap<String, Vec<Binding>>) -> Vec<String> {
        let bound = bindings.get(&held.exchange).map_or(&[][..], Vec::as_slice);
        let mut queues = queues_of(bound, &held.routing_key);
        if queues.is_empty() && !held.routing_key.is_empty() {
            queues.push(&held.routing_key);
        }
        let step = self.keys.step_of(held.priority());
        queues.into_iter().map(|queue| self.keys.list(&QueueName::new(queue), step)).collect()
    }

    /// Gives these back as one step, and says how many were still there.
    pub(super) async fn restore(&self, messages: &[(Overdue, Vec<String>, Vec<u8>)]) -> Result<u64> {
        if messages.is_empty() {
            return Ok(0);
        }
        let mut call = self.plain_script(&RESTORE);
        // The oldest goes to the head of its list, so it is the last.
        for (overdue, lists, message) in messages.iter().rev() {
            call.arg(&overdue.tag).arg(&overdue.score).arg(lists.len());
            for list in lists {
                call.arg(list).arg(&message[..]);
            }
        }
        read(call.run("give back what is overdue", &self.link).await?, &self.link)
    }
}

impl Held {
    /// Reads `[message, exchange, routing key]`.
    ///
    /// Source: `QoS.append`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn parse(entry: &[u8]) -> Option<Self> {
        let Ok(Value::List(parts)) = json::parse(entry) else { return None };
        let [message, exchange, routing_key] = <[Value; 3]>::try_from(parts).ok()?;
        let text = |value: &Value| match value {
            Value::Null => Some(String::new()),
            value => value.as_str().map(str::to_owned),
        };
        message.as_map()?;
        Some(Self { exchange: text(&exchange)?, routing_key: text(&routing_key)?, message })
    }

    /// The priority as kombu counts it; what is no number counts as none.
    ///
    /// Source: `Channel._get_message_priority`, `kombu/transport/virtual/base.py`, kombu 5.7.0.
    fn priority(&self) -> u8 {
        let number = match self.message.get("properties").and_then(|properties| properties.get("priority")) {
            Some(Value::Int(number)) => *number,
            Some(Value::Float(number)) => *number as i64,
            Some(Value::String(digits)) => digits.trim().parse().unwrap_or(0),
            _ => 0,
        };
        number.clamp(0, 9) as u8
    }

    /// The message, marked in the two places that kombu marks. In `delivery_info` the mark is first, where ours is.
    fn redelivered(mut self) -> Vec<u8> {
        if let Some(headers) = entry_mut(&mut self.message, "headers") {
            set_true(headers, "redelivered", usize::MAX);
        }
        let properties = entry_mut(&mut self.message, "properties");
        if let Some(info) = properties.and_then(|properties| entry_mut(properties, "delivery_info")) {
            set_true(info, "redelivered", 0);
        }
        json::to_bytes(&self.message)
    }
}

fn entry_mut<'value>(value: &'value mut Value, key: &str) -> Option<&'value mut Value> {
    let Value::Map(entries) = value else { return None };
    entries.iter_mut().find(|(name, _)| &**name == key).map(|(_, value)| value)
}

/// Sets an entry of a dictionary, which comes to lie at `place` if it is new.
fn set_true(value: &mut Value, key: &str, place: usize) {
    if let Some(entry) = entry_mut(value, key) {
        *entry = Value::Bool(true);
    } else if let Value::Map(entries) = value {
        entries.insert(place.min(entries.len()), (key.into(), Value::Bool(true)));
    }
}
