//! Asks the loop whether it turns, and tells the service manager what follows.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::service::{Notifier, ServiceManager};
use super::vitals::Signs;
use crate::consumer::Input;

/// How often the loop is asked.
const EVERY: Duration = Duration::from_millis(500);

/// Asks the loop at regular times.
pub(super) struct Pulse {
    signs: Signs,
    inputs: mpsc::UnboundedSender<Input>,
    notifier: Option<Notifier>,
}

impl Pulse {
    pub(super) fn new(
        signs: Signs,
        inputs: mpsc::UnboundedSender<Input>,
        manager: Option<ServiceManager>,
    ) -> Self {
        Self { signs, inputs, notifier: manager.map(Notifier::new) }
    }

    /// Asks for as long as the worker lives.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.inputs.is_closed() {
            ticks.tick().await;
            let now = Instant::now();
            let mut vitals = self.signs.vitals();
            if vitals.ask(now) {
                let _ = self.inputs.send(Input::Pulse);
            }
            let (live, ready, stopping) =
                (vitals.live(now).is_ok(), vitals.ready(now).is_ok(), vitals.is_stopping());
            drop(vitals);
            if let Some(notifier) = &mut self.notifier {
                notifier.tell(live, ready, stopping, now);
            }
        }
        // The end of the worker drops this; there is nothing to answer with until then.
        std::future::pending::<()>().await;
    }
}
