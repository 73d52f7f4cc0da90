//! Asks the store, on the threads of those who ask it otherwise: whether it answers, and what waits.

use std::time::Duration;

use celeriac_protocol::{QueueName, TaskId};
use celeriac_store::{QueueStats, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::vitals::Signs;

/// How often the store is asked whether it answers.
const EVERY: Duration = Duration::from_secs(1);

/// How long it has.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who wants to know what waits in the queues. Dropped unanswered where the store does not say it in time.
pub(crate) type QueuesAsked = oneshot::Sender<Vec<QueueStats>>;

/// Asks the store for as long as the worker lives.
pub(crate) struct StoreWatch {
    pub(crate) store: Store,
    pub(crate) queues: Vec<QueueName>,
    pub(crate) signs: Signs,
    pub(crate) asked: mpsc::Receiver<QueuesAsked>,
}

impl StoreWatch {
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A small question that every store answers by a look at an index.
        let nobody = [TaskId::fresh()];
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    let answer = timeout(PATIENCE, self.store.revocations().revoked(&nobody)).await;
                    self.note(answer.is_ok_and(|answer| answer.is_ok()));
                }
                Some(asked) = self.asked.recv() => self.say_what_waits(asked).await,
            }
        }
    }

    async fn say_what_waits(&self, asked: QueuesAsked) {
        let answer = timeout(PATIENCE, self.store.broker().queues(&self.queues)).await;
        if let Ok(Ok(stats)) = answer {
            self.note(true);
            // Who asked may have lost patience.
            let _ = asked.send(stats);
        }
    }

    fn note(&self, answered: bool) {
        if answered {
            self.signs.vitals().answered(Instant::now());
        }
    }
}
