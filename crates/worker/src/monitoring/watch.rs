//! Asks the store, on the threads of those who ask it otherwise: whether it lets anybody fetch, and what waits.

use std::time::Duration;

use celeriac_app::sent_at;
use celeriac_protocol::{Headers, QueueName, Timestamp};
use celeriac_store::clock::Clock;
use celeriac_store::{QueueStats, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::vitals::Signs;

/// How often a fetch is rehearsed.
const EVERY: Duration = Duration::from_secs(1);

/// How long it has.
const PATIENCE: Duration = Duration::from_secs(2);

/// What waits in a queue.
#[derive(Clone, Debug)]
pub(crate) struct QueueState {
    pub(crate) stats: QueueStats,
    /// How long ago the oldest of what has its turn next was sent, or became due, as far as its producer said it.
    pub(crate) oldest: Option<Duration>,
}

/// Somebody wants to know what waits in these queues.
pub(crate) struct QueuesAsked {
    pub(crate) queues: Vec<QueueName>,
    /// Dropped unanswered where the store does not say it in time.
    pub(crate) answer: oneshot::Sender<Vec<QueueState>>,
}

/// Asks the store for as long as the worker lives.
pub(crate) struct StoreWatch {
    pub(crate) store: Store,
    pub(crate) signs: Signs,
    pub(crate) clock: Clock,
    pub(crate) asked: mpsc::Receiver<QueuesAsked>,
}

impl StoreWatch {
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    // Reading would prove little: a file whose write lock is held reads well, and nothing can be fetched.
                    let rehearsed = timeout(PATIENCE, self.store.broker().rehearse_fetch()).await;
                    if rehearsed.is_ok_and(|rehearsed| rehearsed.is_ok()) {
                        self.signs.vitals().answered(Instant::now());
                    }
                    self.signs.vitals().count_round_trips(self.store.broker().round_trips());
                }
                Some(asked) = self.asked.recv() => self.say_what_waits(asked).await,
            }
        }
    }

    async fn say_what_waits(&self, asked: QueuesAsked) {
        let QueuesAsked { queues, answer } = asked;
        let broker = self.store.broker();
        let both = async { tokio::try_join!(broker.queues(&queues), broker.first_waiting(&queues)) };
        if let Ok(Ok((stats, firsts))) = timeout(PATIENCE, both).await {
            let now = self.clock.now();
            let oldest = |headers: Vec<Headers>| headers.iter().filter_map(waits_since).min();
            let since = firsts.into_iter().map(oldest);
            let state = |(stats, since): (QueueStats, Option<Timestamp>)| QueueState {
                stats,
                oldest: since.map(|since| now.saturating_since(since)),
            };
            // Who asked may have lost patience.
            let _ = answer.send(stats.into_iter().zip(since).map(state).collect());
        }
    }
}

/// Since when a message could have been taken: since it was sent, or what it was sent for.
fn waits_since(headers: &Headers) -> Option<Timestamp> {
    let sent = sent_at(headers)?;
    Some(headers.eta.map_or(sent, |due| due.max(sent)))
}
