//! Tasks of a Celery application that are acknowledged as they start, not before.
//!
//! A stock worker acknowledges such a task when a child says that it has begun. So does this one, at the end of the turn in which it
//! hears of it: a task that has ended by then is acknowledged and stored in one step. Tasks in Rust are acknowledged before they
//! start, because there "early" is a promise not to run twice.
//!
//! Source: celery/worker/request.py, `Request.on_accepted`, Celery 5.7.0.

use celeriac_store::{DeliveryTag, Finish, Settle};

use crate::consumer::Consumer;
use crate::finish::settle;
use crate::finisher::Item;
use crate::pool::PoolKind;
use crate::table::Entry;

impl Entry {
    /// Whether it has to be acknowledged before it starts.
    pub(super) fn acks_before_start(&self) -> bool {
        self.request.acks_early && self.pool != PoolKind::Python
    }

    /// It has started: whether it is to be acknowledged now.
    pub(super) fn acks_at_start(&mut self) -> bool {
        self.owes_ack = self.request.acks_early && self.acknowledged.is_none();
        if self.owes_ack {
            self.acknowledged = Some(self.tag);
        }
        self.owes_ack
    }
}

impl Consumer {
    /// Acknowledges what has started in this turn and still runs.
    pub(super) fn pay_acks(&mut self) {
        for key in std::mem::take(&mut self.owing_acks) {
            let Some(entry) = self.table.get_mut(&key) else { continue };
            if std::mem::take(&mut entry.owes_ack) {
                let acknowledgement = settle(&entry.request.delivery, Settle::Ack);
                let delivery = entry.acknowledged;
                self.send_item(Item::last(None, Finish { delivery, ..acknowledgement }));
            }
        }
    }
}

/// What the end of a request settles: nothing if it has been acknowledged, unless it was delivered again meanwhile.
pub(super) fn settled_by_end(
    finish: Finish,
    tag: DeliveryTag,
    acknowledged: Option<DeliveryTag>,
    owes_ack: bool,
) -> Finish {
    match acknowledged {
        // As if it were acknowledged already: whatever comes of the task, its message is done with.
        Some(_) if owes_ack => Finish { delivery: Some(tag), settle: Settle::Ack, ..finish },
        acknowledged => Finish { delivery: (acknowledged != Some(tag)).then_some(tag), ..finish },
    }
}
