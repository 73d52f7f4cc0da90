//! Finishing: the delivery is settled, its result stored and its follow-ups published, in one script.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::{TaskId, Value, json};

use super::Shared;
use super::consequences::{NewConsequences, NewPart};
use super::consumer::{Consuming, Places};
use super::lending::Lent;
use super::publish::NewMessage;
use super::results::{Life, NewResult, add_life};
use super::script::{CLOSE, Call, FINISH, STARTED, read};
use crate::{DeliveryTag, FailureReason, Finish, Result, Settle, Settled, Settler};

/// The output half of one subscription.
pub(super) struct RedisSettler {
    pub consuming: Arc<Consuming>,
}

#[async_trait]
impl Settler for RedisSettler {
    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Settled>> {
        if finishes.is_empty() {
            return Ok(Vec::new());
        }
        let consuming = &*self.consuming;
        let shared = &consuming.shared;
        let endings: Result<Vec<Ending>> =
            finishes.into_iter().map(|finish| Ending::of(finish, shared)).collect();
        consuming.finish(endings?).await
    }

    async fn started(&self, tags: Vec<DeliveryTag>) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        let shared = &self.consuming.shared;
        let mut call = shared.plain_script(&STARTED);
        call.arg(&self.consuming.id);
        tags.into_iter().for_each(|tag| {
            call.arg(tag.0);
        });
        call.run("say what starts", &shared.link).await?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        let consuming = &self.consuming;
        consuming.lending.close();
        // A claim on its way comes first, or what it takes would stay lent.
        let _claim = consuming.claim.lock().await;
        let mut call = consuming.shared.plain_script(&CLOSE);
        call.arg(&consuming.id);
        call.run("close the consumer", &consuming.shared.link).await?;
        Ok(())
    }
}

/// A finish as the script takes it.
struct Ending {
    tag: Option<DeliveryTag>,
    settle: Settle,
    result: Option<NewResult>,
    follow_ups: Vec<NewMessage>,
    workflow: Option<NewConsequences>,
}

impl Ending {
    fn of(finish: Finish, shared: &Shared) -> Result<Self> {
        let Finish { delivery, settle, result, follow_ups, workflow } = finish;
        Ok(Self {
            tag: delivery,
            settle,
            result: result.map(|result| NewResult::of(result, shared)).transpose()?,
            follow_ups: NewMessage::all(follow_ups, shared)?,
            workflow: workflow.map(|workflow| NewConsequences::of(*workflow, shared)).transpose()?,
        })
    }

    /// The result, if this is an acknowledgement and a success, and at most a chord hears of it: nearly all are.
    fn success(&self) -> Option<&NewResult> {
        let plain = self.tag.is_some()
            && matches!(self.settle, Settle::Ack)
            && self.follow_ups.is_empty()
            && self.workflow.as_ref().is_none_or(|workflow| workflow.told().is_some());
        self.result.as_ref().filter(|result| plain && result.is_success())
    }

    /// The same of one that lives as long as usual, as the script takes it in short.
    fn in_short(&self, usual: Life) -> Option<(&NewResult, Option<&NewPart>)> {
        let result = self.success().filter(|result| result.life() == usual)?;
        let told = self.workflow.as_ref().and_then(NewConsequences::told);
        told.is_none_or(|part| part.life() == usual).then_some((result, told))
    }

    /// Adds the result and what is published.
    fn add_consequences(&self, call: &mut Call) {
        match &self.result {
            None => {
                call.arg("");
            }
            Some(result) => result.add_to(call.arg("result")),
        }
        call.arg(self.follow_ups.len());
        self.follow_ups.iter().for_each(|message| message.add_to(call));
    }
}

/// Whether a delivery is in the hands of this process, as far as it knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    No,
    Yes,
    /// It may have been settled by an earlier call, whose answer was not heard.
    Unheard,
}

impl Consuming {
    async fn finish(&self, endings: Vec<Ending>) -> Result<Vec<Settled>> {
        let shared = &self.shared;
        let places = self.places();
        let lists: BTreeSet<&str> =
            endings.iter().flat_map(|ending| self.lists_of(ending, &places)).collect();
        let mut call = shared.script(&FINISH, lists.into_iter());
        let usual = endings.iter().find_map(Ending::success).and_then(NewResult::life);
        add_life(usual, call.arg(&self.id));
        call.arg(if shared.options.redis.result_chord_ordered { "1" } else { "" });
        // What this process does not hold any more is not asked about.
        let held: Vec<Held> =
            endings.iter().map(|ending| self.add_ending(ending, usual, &mut call)).collect();
        let tags = || endings.iter().filter_map(|ending| ending.tag);
        let answers: Vec<u8> = if held.iter().any(|held| *held != Held::No) {
            // Until the answer is heard, it may be done or not; so it is also if nobody waits for the answer.
            self.lending.unheard(tags());
            read(call.run("finish", &shared.link).await?, &shared.link)?
        } else {
            Vec::new()
        };
        let mut answers = answers.into_iter();
        let mut settled = |held| match (held, if held == Held::No { None } else { answers.next() }) {
            (_, Some(1)) | (Held::Unheard, Some(2)) => Settled::Done,
            (_, Some(3)) => Settled::Completes,
            _ => Settled::Lost,
        };
        let settled: Vec<Settled> = held.into_iter().map(&mut settled).collect();
        let ended = endings.iter().zip(&settled).filter(|(_, settled)| **settled != Settled::Completes);
        self.lending.remove(ended.filter_map(|(ending, _)| ending.tag));
        Ok(settled)
    }

    /// Moves what is no message to the failed tasks.
    pub(super) async fn fail_undecodable(&self, failures: Vec<(DeliveryTag, FailureReason)>) -> Result<()> {
        let ending = |(tag, reason)| Ending {
            tag: Some(tag),
            settle: Settle::Fail(reason),
            result: None,
            follow_ups: Vec::new(),
            workflow: None,
        };
        self.finish(failures.into_iter().map(ending).collect()).await?;
        Ok(())
    }

    /// The lists that something of this goes to.
    fn lists_of<'ending>(
        &self,
        ending: &'ending Ending,
        places: &'ending Places,
    ) -> impl Iterator<Item = &'ending str> + use<'ending> {
        let home = match ending.settle {
            Settle::Requeue | Settle::Release => ending.tag.and_then(|tag| self.lending.get(tag)),
            Settle::Ack | Settle::Fail(_) => None,
        };
        let home = home.map(|lent| &*places.lists[lent.place].key);
        let workflow = ending.workflow.iter().flat_map(NewConsequences::lists);
        home.into_iter().chain(ending.follow_ups.iter().map(NewMessage::list)).chain(workflow)
    }

    /// Adds one finish to the call, unless its delivery is not in our hands. `usual` is the life that the call says first.
    fn add_ending(&self, ending: &Ending, usual: Life, call: &mut Call) -> Held {
        let lent = ending.tag.map(|tag| (tag, self.lending.get(tag)));
        if let Some((_, None)) = lent {
            return Held::No;
        }
        let in_short = ending.in_short(usual);
        if let (Some(workflow), None) = (&ending.workflow, in_short) {
            call.arg("workflow").arg(workflow.arguments());
            workflow.add_to(call);
        }
        let Some((tag, Some(lent))) = lent else {
            call.arg("").arg("ack");
            ending.add_consequences(call);
            return Held::Yes;
        };
        match in_short {
            Some((result, None)) => result.add_success_to(call.arg(tag.0).arg("done")),
            Some((result, Some(told))) => {
                result.add_success_to(call.arg(tag.0).arg("member"));
                told.add_told_to(call);
            }
            None => {
                self.add_settlement(tag, &lent, &ending.settle, call);
                ending.add_consequences(call);
            }
        }
        if lent.unheard { Held::Unheard } else { Held::Yes }
    }

    fn add_settlement(&self, tag: DeliveryTag, lent: &Lent, settle: &Settle, call: &mut Call) {
        let places = self.places();
        let list = &places.lists[lent.place];
        call.arg(tag.0);
        match settle {
            Settle::Ack => {
                call.arg("ack");
            }
            Settle::Requeue => {
                call.arg("back").arg(&list.key).arg(&list.tail);
            }
            Settle::Release => {
                call.arg("release").arg(&list.key).arg(&list.tail);
            }
            Settle::Fail(reason) => {
                let id = lent.task.clone().unwrap_or_else(TaskId::fresh);
                let facts = json::to_bytes(&Value::Map(vec![
                    ("queue".into(), Value::from(list.queue.as_str())),
                    ("deliveries".into(), Value::Int(lent.deliveries.into())),
                    ("code".into(), Value::from(&*reason.code)),
                    ("text".into(), Value::from(&*reason.text)),
                    ("evidence".into(), reason.evidence.clone()),
                ]));
                // What was never delivered as a message has no list to go back to.
                let home = if lent.deliveries == 0 { "" } else { &list.key };
                call.arg("fail").arg(id.as_str()).arg(&facts[..]).arg(home).arg(&list.tail);
            }
        }
    }
}

impl Shared {
    /// Stores results that belong to no delivery of ours.
    pub(super) async fn store_results(&self, results: &[NewResult]) -> Result<()> {
        let mut call = self.plain_script(&FINISH);
        call.arg("").arg("").arg("");
        for result in results {
            call.arg("").arg("ack").arg("result");
            result.add_to(&mut call);
            call.arg(0);
        }
        call.run("store results", &self.link).await?;
        Ok(())
    }
}
