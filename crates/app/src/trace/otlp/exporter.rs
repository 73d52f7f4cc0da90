//! Keeps spans until they are sent, and sends them on a thread of its own.
//!
//! The export blocks only that thread, which has a runtime of its own: a collector that is away or slow delays nothing else.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::trace::SpanExporter;
use tokio::runtime::{Builder, Runtime};

use super::client::LastAnswer;
use super::data::{data, scope};
use crate::trace::{Span, SpanSink};

/// How much is kept and sent, and how soon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many spans wait at most; what comes then is dropped and counted.
    pub(super) waiting: usize,
    /// How many are sent at once.
    pub(super) batch: usize,
    /// How long is waited for a batch to fill.
    pub(super) delay: Duration,
}

impl Default for Limits {
    /// Those of OpenTelemetry's batch processor, but for `waiting`, which is 2,048 there: a worker ends more tasks than
    /// that in a second.
    fn default() -> Self {
        Self { waiting: 16_384, batch: 512, delay: Duration::from_secs(5) }
    }
}

/// How long is waited before a collector that is away is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the last spans may take.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Takes spans, and sends them.
pub(super) struct Exporter(Arc<Shared>);

struct Shared {
    limits: Limits,
    state: Mutex<State>,
    /// Something has come for the thread to do.
    work: Condvar,
    /// The thread has done something.
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Span>,
    /// How many are being sent.
    sending: usize,
    /// How many have been dropped since the log has last said so.
    dropped: u64,
    /// How many wait for everything to be sent.
    flushing: usize,
    /// How often sending has failed.
    failures: u64,
    /// Why the last batch was not taken.
    trouble: Option<String>,
    /// Somebody has waited in vain, and nothing has come since.
    hopeless: bool,
    /// Nothing more will come.
    closed: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sending == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exporter {
    /// Starts to send by `exporter`, which speaks by the client of `last_answer`, to a collector of this URL.
    ///
    /// # Errors
    /// The thread or its runtime that the system refuses.
    pub(super) fn start(
        exporter: impl SpanExporter + 'static,
        last_answer: LastAnswer,
        url: &str,
        limits: Limits,
    ) -> io::Result<Self> {
        let (state, work, done) = Default::default();
        let shared = Arc::new(Shared { limits, state, work, done });
        let courier = Courier {
            exporter,
            last_answer,
            url: celeriac_store::without_password(url),
            scope: scope(),
            runtime: Builder::new_current_thread().enable_all().build()?,
            shared: Arc::clone(&shared),
            is_away: false,
        };
        thread::Builder::new().name("celeriac-otlp".to_owned()).spawn(move || courier.run())?;
        Ok(Self(shared))
    }
}

impl SpanSink for Exporter {
    fn record(&self, span: Span) {
        let mut state = self.0.lock();
        if state.waiting.len() >= self.0.limits.waiting {
            state.dropped += 1;
            return;
        }
        state.waiting.push_back(span);
        state.hopeless = false;
        if state.waiting.len() == self.0.limits.batch {
            self.0.work.notify_one();
        }
    }

    /// Ends early where the collector is away.
    fn flush(&self, within: Duration) -> bool {
        let mut state = self.0.lock();
        let failures = state.failures;
        state.flushing += 1;
        self.0.work.notify_one();
        let goes_on = |state: &mut State| !state.is_empty() && state.failures == failures;
        let waited = self.0.done.wait_timeout_while(state, within, goes_on);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.flushing -= 1;
        state.hopeless = !state.is_empty();
        state.is_empty()
    }

    fn trouble(&self) -> Option<String> {
        self.0.lock().trouble.clone()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let is_hopeless = self.0.lock().hopeless;
        if !is_hopeless && !self.flush(LAST_SPANS) {
            tracing::warn!("the last spans were not exported");
        }
        self.0.lock().closed = true;
        self.0.work.notify_one();
    }
}

/// What became of a batch.
enum Sent {
    Taken,
    /// The collector does not want it, and will not.
    Refused(String),
    /// It may be taken later.
    NotYet(String),
}

/// The thread.
struct Courier<E> {
    exporter: E,
    last_answer: LastAnswer,
    url: String,
    scope: InstrumentationScope,
    runtime: Runtime,
    shared: Arc<Shared>,
    /// Whether the last attempt failed, which the log has said.
    is_away: bool,
}

impl<E: SpanExporter> Courier<E> {
    fn run(mut self) {
        while let Some(batch) = self.next() {
            self.deliver(&batch);
            self.shared.lock().sending = 0;
            self.shared.done.notify_all();
        }
    }

    /// The next spans to send; nothing when no more will come.
    fn next(&self) -> Option<Vec<Span>> {
        let Limits { batch, delay, .. } = self.shared.limits;
        let sleeps = |state: &mut State| {
            state.waiting.len() < batch && !state.closed && (state.flushing == 0 || state.waiting.is_empty())
        };
        loop {
            let waited = self.shared.work.wait_timeout_while(self.shared.lock(), delay, sleeps);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !state.waiting.is_empty() {
                let count = state.waiting.len().min(batch);
                state.sending = count;
                return Some(state.waiting.drain(..count).collect());
            }
            if state.closed {
                return None;
            }
        }
    }

    /// Sends a batch, again and again while the collector is away.
    fn deliver(&mut self, batch: &[Span]) {
        loop {
            let sent = self.send(batch);
            self.shared.lock().trouble = match &sent {
                Sent::Taken => None,
                Sent::Refused(why) => Some(format!("{} refuses them: {why}", self.url)),
                Sent::NotYet(why) => Some(format!("{}: {why}", self.url)),
            };
            match sent {
                Sent::Taken => return self.works(),
                Sent::Refused(why) => {
                    let (url, spans) = (&self.url, batch.len());
                    tracing::warn!(%url, spans, "the collector refuses spans, they are dropped: {why}");
                    return;
                }
                Sent::NotYet(why) => {
                    if !std::mem::replace(&mut self.is_away, true) {
                        tracing::warn!(url = %self.url, "spans are not exported: {why}");
                    }
                }
            }
            let mut state = self.shared.lock();
            state.failures += 1;
            self.shared.done.notify_all();
            let waited = self.shared.work.wait_timeout_while(state, PAUSE, |state| !state.closed);
            if waited.unwrap_or_else(PoisonError::into_inner).0.closed {
                return;
            }
        }
    }

    fn works(&mut self) {
        let dropped = std::mem::take(&mut self.shared.lock().dropped);
        if std::mem::take(&mut self.is_away) {
            tracing::warn!(url = %self.url, dropped, "spans are exported again");
        } else if dropped > 0 {
            tracing::warn!(dropped, "spans were dropped: they cannot be exported as fast as they end");
        }
    }

    fn send(&self, batch: &[Span]) -> Sent {
        let batch = batch.iter().map(|span| data(span, &self.scope)).collect();
        let Err(error) = self.runtime.block_on(self.exporter.export(batch)) else { return Sent::Taken };
        let answer = self.last_answer.get();
        let why = match &answer {
            // The exporter would say that there is a network error, and not which.
            Err(why) => why.clone(),
            Ok(200..300) => error.to_string(),
            Ok(status) => format!("it answers with status {status}"),
        };
        match answer {
            // Source: "Retryable Response Codes", OTLP specification 1.7; and what a server in trouble says.
            Ok(400..=407 | 409..=428 | 430..=499 | 501 | 505) => Sent::Refused(why),
            _ => Sent::NotYet(why),
        }
    }
}
