//! Signs of life, from a thread that code of the user cannot block.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use celeriac_app::resource::{HealthBoard, ResourceHealth};
use celeriac_protocol::{Value, json};

use super::super::process::resident_memory;
use super::super::protocol::FromChild;
use super::connection::{SendError, Sender};
use super::last_words;
use super::reporter::NO_BODY;
use crate::death::exit_code;

/// How soon a change of the resources is reported, at the latest.
const RESOURCES: Duration = Duration::from_millis(500);

/// Gives signs of life until it is dropped.
#[derive(Debug)]
pub(super) struct Pulse {
    _stop: mpsc::Sender<()>,
}

impl Pulse {
    /// Starts the thread: a sign of life each `beat`, and the state of the resources when that has changed.
    pub(super) fn start(sender: Sender, beat: Duration, health: HealthBoard) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let of_heart = sender.clone();
        let mut heart = Heart { sender: of_heart, beat, health, shown: Vec::new(), beaten: Instant::now() };
        // Without resources there is nothing to look at between two beats.
        let nap = if heart.health.snapshot().is_empty() { beat } else { beat.min(RESOURCES) };
        thread::Builder::new().name("celeriac-pulse".into()).spawn(move || {
            last_words::or_end(&sender, || {
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(nap) {
                    heart.turn();
                }
            });
        })?;
        Ok(Self { _stop: stop })
    }
}

struct Heart {
    sender: Sender,
    beat: Duration,
    health: HealthBoard,
    shown: Vec<ResourceHealth>,
    beaten: Instant,
}

impl Heart {
    fn turn(&mut self) {
        let now = self.health.snapshot();
        if now != self.shown {
            show(&self.sender, &now);
            self.shown = now;
        }
        if self.beaten.elapsed() >= self.beat {
            self.beaten = Instant::now();
            let beat = FromChild::Beat { memory: resident_memory() };
            if let Err(SendError::Closed(_)) = self.sender.send(&beat, NO_BODY) {
                // The parent is gone, or a task has closed the socket, of which the listener hears nothing.
                last_words::end(exit_code::CUT_OFF);
            }
        }
    }
}

/// Tells the parent how the resources are.
pub(super) fn show(sender: &Sender, health: &[ResourceHealth]) {
    let list = Value::List(health.iter().map(to_value).collect());
    if let Err(error) = sender.send(&FromChild::Resources, json::to_bytes(&list).into()) {
        tracing::warn!(%error, "the state of the resources was not sent");
    }
}

fn to_value(health: &ResourceHealth) -> Value {
    let text = |text: &str| Value::String(text.into());
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let entries = [
        ("name", text(&health.name)),
        ("kind", text(&health.kind.to_string())),
        ("state", text(health.state.as_str())),
        ("alive", number(health.alive.into())),
        ("builds", number(health.builds)),
        ("rebuilds", number(health.rebuilds)),
        ("failures", number(health.failures)),
        ("last_error", health.last_error.as_deref().map_or(Value::Null, text)),
    ];
    Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}
