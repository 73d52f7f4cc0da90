//! Who is told of which signal.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::panic::contained;
use crate::signals::NAMES;

/// One kind of moment, with the facts that its handlers get.
pub struct Signal<P> {
    index: usize,
    name: &'static str,
    payload: PhantomData<fn(&P)>,
}

impl<P> Signal<P> {
    pub(super) const fn new(index: usize, name: &'static str) -> Self {
        Self { index, name, payload: PhantomData }
    }

    /// Celery's name of it.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<P> Clone for Signal<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Signal<P> {}

impl<P> fmt::Debug for Signal<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a handler said went wrong.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What a handler may return: nothing, or a result.
pub trait Handled {
    /// The result.
    ///
    /// # Errors
    /// What went wrong.
    fn into_result(self) -> Result<(), HandlerError>;
}

impl Handled for () {
    fn into_result(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: Into<HandlerError>> Handled for Result<(), E> {
    fn into_result(self) -> Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}

type Handler = Arc<dyn Fn(&dyn Any) -> Result<(), HandlerError> + Send + Sync>;

/// The handlers of a program.
#[derive(Clone, Default)]
pub struct Signals {
    /// By index of the signal; empty until the first handler is connected.
    handlers: Vec<Vec<Handler>>,
}

impl Signals {
    /// Adds a handler. Handlers run in the order in which they were connected.
    pub fn connect<P: 'static, R: Handled>(
        &mut self,
        signal: Signal<P>,
        handler: impl Fn(&P) -> R + Send + Sync + 'static,
    ) {
        self.handlers.resize_with(NAMES.len(), Vec::new);
        self.handlers[signal.index].push(Arc::new(move |payload| {
            let payload = payload.downcast_ref().expect("a signal is sent with its own payload");
            handler(payload).into_result()
        }));
    }

    /// Whether anybody is told of this signal.
    pub fn is_connected<P>(&self, signal: Signal<P>) -> bool {
        self.handlers.get(signal.index).is_some_and(|handlers| !handlers.is_empty())
    }

    /// Tells everybody who is connected; `payload` is made only if somebody is.
    ///
    /// Handlers run on this thread, one after the other. One that fails or panics is logged.
    pub fn send<P: 'static>(&self, signal: Signal<P>, payload: impl FnOnce() -> P) {
        let Some(handlers) = self.handlers.get(signal.index).filter(|handlers| !handlers.is_empty()) else {
            return;
        };
        tell(signal.name, handlers, &payload());
    }

    /// As [`Signals::send`], and gives the payload back with what the handlers changed in it.
    pub fn send_through<P: 'static>(&self, signal: Signal<P>, payload: P) -> P {
        if let Some(handlers) = self.handlers.get(signal.index) {
            tell(signal.name, handlers, &payload);
        }
        payload
    }
}

/// Runs every handler; one that fails or panics is logged.
fn tell<P: 'static>(signal: &'static str, handlers: &[Handler], payload: &P) {
    for handler in handlers {
        if let Err(error) = contained(|| handler(payload)) {
            tracing::error!(signal, %error, "signal handler failed");
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = NAMES.iter().zip(&self.handlers).filter(|(_, handlers)| !handlers.is_empty());
        f.debug_map().entries(connected.map(|(name, handlers)| (name, handlers.len()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::resource::{Process, ProcessKind};
    use crate::signals;

    fn process() -> Process {
        Process::this("w@h", ProcessKind::Worker)
    }

    #[test]
    fn a_handler_that_fails_or_panics_does_not_stop_the_others() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let mut all = Signals::default();
        let log = |name: &'static str| {
            let calls = Arc::clone(&calls);
            move || calls.lock().unwrap().push(name)
        };
        let (first, third) = (log("first"), log("third"));
        all.connect(signals::worker_process_init, move |_| {
            first();
            Err::<(), _>("no luck")
        });
        all.connect(signals::worker_process_init, |process| {
            if process.pid() > 0 {
                panic!("worse luck")
            }
        });
        all.connect(signals::worker_process_init, move |_| third());

        all.send(signals::worker_process_init, process);
        assert_eq!(*calls.lock().unwrap(), ["first", "third"]);
    }

    #[test]
    fn nothing_is_made_for_a_signal_that_nobody_connected_to() {
        let mut all = Signals::default();
        all.connect(signals::worker_process_init, |_| ());
        all.send(signals::worker_process_shutdown, || panic!("made for nobody"));
    }

    #[test]
    fn every_signal_has_its_own_place() {
        for (index, name) in NAMES.iter().enumerate() {
            let count = NAMES.iter().filter(|other| *other == name).count();
            assert_eq!(count, 1, "{name} at {index}");
        }
        assert_eq!(signals::after_setup_logger.index, NAMES.len() - 1);
    }
}
