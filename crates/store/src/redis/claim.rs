//! Claiming: messages move from their lists into this consumer's hands, in one step on the server.

use std::time::Duration;

use celeriac_protocol::{Message, TaskId};
use redis::Value;

use super::consumer::Consuming;
use super::lending::Lent;
use super::publish::decode;
use super::script::{FETCH, REVOKED, read};
use crate::{Delivery, DeliveryTag, Error, FailureReason, Result};

/// What the next claim must know of those before.
#[derive(Default)]
pub(super) struct Claim {
    /// Counts the calls, so that the server refuses one that comes late.
    call: u64,
    /// The number of the next delivery.
    next: u64,
    /// Whether the answer to the last call was not heard: it may have taken something.
    unheard: bool,
    /// What was taken, is no message, and is not among the failed tasks yet.
    undecodable: Vec<DeliveryTag>,
}

impl Claim {
    /// Whether the answer to the last call was not heard.
    pub(super) fn is_unheard(&self) -> bool {
        self.unheard
    }
}

/// What a claim brought.
#[derive(Default)]
pub(super) struct Claimed {
    pub deliveries: Vec<Delivery>,
    /// How long until something happens that no key tells of: a message is due, or a lease ends.
    pub next_event: Option<Duration>,
    /// How many consumers there are, of all queues.
    pub crowd: u64,
}

/// What the script says beside the messages.
struct Said {
    what: String,
    next_event: Option<Duration>,
    /// How many tasks are revoked.
    revoked: u64,
    crowd: u64,
}

/// One message as the script gives it.
struct Taken {
    place: usize,
    tag: DeliveryTag,
    raw: Vec<u8>,
}

impl Consuming {
    /// Takes up to `limit` messages.
    pub(super) async fn claim(&self, limit: usize) -> Result<Claimed> {
        let mut claim = self.claim.lock().await;
        if self.lending.is_closed() {
            return Err(Error::Closed);
        }
        claim.call += 1;
        let (call, again) = (claim.call, std::mem::replace(&mut claim.unheard, true));
        let answer = self.call_fetch(&claim, limit, again).await?;
        let (said, taken) = self.read_answer(answer)?;
        match &*said.what {
            // A later call has overtaken this one; it will be heard.
            "stale" => return Err(self.shared.link.failed(format!("claim {call} came too late"))),
            // What it had before is somebody else's.
            "new" => {
                self.was_forgotten(self.lending.newest());
                claim.undecodable.clear();
            }
            _ => {}
        }
        claim.next = taken.iter().map(|taken| taken.tag.0 + 1).max().unwrap_or(0).max(claim.next);
        claim.unheard = false;
        self.pass_turn();
        // From here on nothing may fail: what is in our hands must reach the caller.
        let mut deliveries = self.open(taken, &mut claim.undecodable);
        self.put_aside(&mut claim.undecodable).await;
        if said.revoked > 0 {
            self.mark_revoked(&mut deliveries).await;
        }
        Ok(Claimed { deliveries, next_event: said.next_event, crowd: said.crowd })
    }

    async fn call_fetch(&self, claim: &Claim, limit: usize, again: bool) -> Result<Value> {
        let shared = &self.shared;
        let places = self.places();
        let lists = places.in_turn(self.turn());
        let mut call = shared.script(&FETCH, lists.clone().map(|(_, list)| list.key.as_str()));
        call.arg(&self.id).arg(self.lease_micros()).arg(&places.record[..]);
        call.arg(claim.call).arg(claim.next).arg(limit).arg(u8::from(again));
        for (place, list) in lists {
            call.arg(place + 1).arg(&list.tail);
        }
        call.run("fetch", &shared.link).await
    }

    fn read_answer(&self, answer: Value) -> Result<(Said, Vec<Taken>)> {
        let link = &self.shared.link;
        let Value::Array(parts) = answer else {
            return Err(link.failed("the fetch script answered something else".to_owned()));
        };
        let mut parts = parts.into_iter();
        let what = read(parts.next().unwrap_or(Value::Nil), link)?;
        let mut number = || read::<Option<u64>>(parts.next().unwrap_or(Value::Nil), link);
        let (next_event, revoked, crowd) = (number()?, number()?, number()?);
        let next_event = next_event.map(Duration::from_micros);
        let said = Said { what, next_event, revoked: revoked.unwrap_or(0), crowd: crowd.unwrap_or(0) };
        let mut taken = Vec::new();
        while let (Some(place), Some(number), Some(raws)) = (parts.next(), parts.next(), parts.next()) {
            let (place, number): (usize, u64) = (read(place, link)?, read(number, link)?);
            let Value::Array(raws) = raws else {
                return Err(link.failed("the fetch script answered no messages".to_owned()));
            };
            for (number, raw) in (number..).zip(raws) {
                let Value::BulkString(raw) = raw else {
                    return Err(link.failed("the fetch script answered what is no message".to_owned()));
                };
                taken.push(Taken { place: place.saturating_sub(1), tag: DeliveryTag(number), raw });
            }
        }
        Ok((said, taken))
    }

    /// Makes deliveries of what was taken, apart from what is no message.
    fn open(&self, taken: Vec<Taken>, undecodable: &mut Vec<DeliveryTag>) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(taken.len());
        for Taken { place, tag, raw } in taken {
            let (noted, json) = noted(&raw);
            let Some((message, flagged)) = decode(json) else {
                self.lending
                    .add(tag, Lent { task: Some(TaskId::fresh()), place, deliveries: 0, unheard: false });
                undecodable.push(tag);
                continue;
            };
            let count = noted.max(u32::from(flagged)).saturating_add(1);
            let task = message.headers.id.clone();
            self.lending.add(tag, Lent { task, place, deliveries: count, unheard: false });
            deliveries.push(self.delivery(tag, place, message, count));
        }
        deliveries
    }

    /// Moves what is no message to the failed tasks, now or after the next claim.
    async fn put_aside(&self, undecodable: &mut Vec<DeliveryTag>) {
        if undecodable.is_empty() {
            return;
        }
        let failures = undecodable.iter().map(|tag| (*tag, FailureReason::undecodable(None))).collect();
        match self.fail_undecodable(failures).await {
            Ok(()) => undecodable.clear(),
            Err(error) => {
                let (store, count) = (self.shared.link.url(), undecodable.len());
                tracing::warn!(store, count, %error, "what is no message is still to go to the failed tasks");
            }
        }
    }

    fn delivery(&self, tag: DeliveryTag, place: usize, message: Message, deliveries: u32) -> Delivery {
        let queue = self.places().lists[place].queue.clone();
        Delivery { tag, queue, message, redelivered: deliveries > 1, deliveries, revoked: Some(false) }
    }

    /// Says which of these are revoked. Where the server does not answer, it is left open, and the worker asks.
    async fn mark_revoked(&self, deliveries: &mut [Delivery]) {
        let shared = &self.shared;
        let mut call = shared.plain_script(&REVOKED);
        for delivery in &*deliveries {
            call.arg(delivery.message.headers.id.as_ref().map_or("", |id| id.as_str()));
        }
        let answer = call.run("ask what is revoked", &shared.link).await;
        let revoked: Option<Vec<u8>> = answer.and_then(|answer| read(answer, &shared.link)).ok();
        for (at, delivery) in deliveries.iter_mut().enumerate() {
            delivery.revoked =
                revoked.as_ref().and_then(|revoked| revoked.get(at)).map(|revoked| *revoked == 1);
        }
    }
}

/// How often a stored message was delivered, and its JSON: `noted` of `lua/shared.lua`.
fn noted(raw: &[u8]) -> (u32, &[u8]) {
    let digits = raw.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match raw.split_at_checked(raw.len() - digits) {
        Some(([json @ .., b'\n'], note)) if !note.is_empty() => {
            let bit =
                |count: u32, digit: &u8| count.saturating_mul(2).saturating_add(u32::from(*digit == b'\t'));
            (note.iter().fold(0, bit), json)
        }
        _ => (0, raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_behind_a_message_is_read() {
        assert_eq!(noted(b"{}"), (0, &b"{}"[..]));
        assert_eq!(noted(b"{}\n\t"), (1, &b"{}"[..]));
        assert_eq!(noted(b"{}\n\t \t"), (5, &b"{}"[..]));
        assert_eq!(noted(b"{} "), (0, &b"{} "[..]));
        assert_eq!(noted(b""), (0, &b""[..]));
        assert_eq!(noted(&[b"\n".as_slice(), &[b'\t'; 40]].concat()).0, u32::MAX);
    }
}
