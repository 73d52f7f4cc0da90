//! A store that fails: when it is asked again, and what the log says of it.
//!
//! Many parts of a worker ask the store, and all of them fail when it is away. Together they say so once, remind of it now
//! and then, and say once that it is over. What each of them met is logged at level DEBUG.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_store::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long to wait before a failing store is asked again: doubling from the first to the last, which is short enough for
/// work to go on within 5 seconds after the store is back.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How often the log is reminded of what still fails.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// What fails at present, as all parts of a worker know it. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Trouble(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The URL of the broker, without its password.
    store: Box<str>,
    /// Whether `failing` holds anything.
    any: AtomicBool,
    failing: Mutex<BTreeMap<Kind, Failing>>,
    begun: Notify,
}

/// What is told together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// This store is away, for all who ask it.
    Away(String),
    /// This does not work, although the store is there.
    Refused(&'static str),
}

#[derive(Debug)]
struct Failing {
    /// Who met it first.
    what: &'static str,
    since: Instant,
    told: Instant,
    failures: u64,
    /// What happened first.
    cause: String,
}

impl Trouble {
    /// No trouble yet with the store of this URL.
    pub(crate) fn new(store: &str) -> Self {
        let (any, failing, begun) = (AtomicBool::default(), Mutex::default(), Notify::new());
        Self(Arc::new(Shared { store: store.into(), any, failing, begun }))
    }

    /// Someone who asks the store; `what` says, in the log, what it means that this fails.
    pub(crate) fn asker(&self, what: &'static str) -> Asker {
        Asker { trouble: self.clone(), what, pause: FIRST_PAUSE }
    }

    /// Waits until something has begun to fail since this was waited for last. Cancel safe.
    pub(crate) async fn begun(&self) {
        self.0.begun.notified().await;
    }

    /// Something failed: tells the log, unless it knows.
    fn failed(&self, what: &'static str, error: &Error, again_in: Duration) {
        let kind = match error {
            Error::Unreachable { url, .. } | Error::Timeout { url, .. } => Kind::Away(url.clone()),
            _ => Kind::Refused(what),
        };
        let now = Instant::now();
        let mut all = self.lock();
        self.0.any.store(true, Ordering::Release);
        let Some(failing) = all.get_mut(&kind) else {
            tracing::error!(%error, "{what}; trying again until it works");
            all.insert(kind, Failing { what, since: now, told: now, failures: 1, cause: error.to_string() });
            self.0.begun.notify_one();
            return;
        };
        failing.failures += 1;
        if now - failing.told < REMIND_EVERY {
            tracing::debug!(%error, ?again_in, "{what}");
            return;
        }
        failing.told = now;
        let (since, failures) = (now - failing.since, failing.failures);
        tracing::error!(%error, r#for = ?since, failures, "{what}, still; trying again until it works");
    }

    /// Something that asks the store was answered.
    fn worked(&self, what: &'static str) {
        if !self.0.any.load(Ordering::Acquire) {
            return;
        }
        let mut all = self.lock();
        // Results may lie on another server; then only who stores them knows.
        let is_broker = |kind: &Kind| matches!(kind, Kind::Away(url) if **url == *self.0.store);
        let ended = |kind: &Kind, failing: &mut Failing| is_broker(kind) || failing.what == what;
        for (kind, failing) in all.extract_if(.., ended) {
            let (after, failures, cause) = (failing.since.elapsed(), failing.failures, failing.cause);
            match kind {
                Kind::Away(store) => tracing::warn!(store, ?after, failures, cause, "the store is back"),
                Kind::Refused(_) => tracing::warn!(?after, failures, cause, "works again: {what}"),
            }
        }
        self.0.any.store(!all.is_empty(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Failing>> {
        self.0.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part of a worker that asks the store until it is answered.
#[derive(Debug)]
pub(crate) struct Asker {
    trouble: Trouble,
    what: &'static str,
    pause: Duration,
}

impl Asker {
    /// The store failed. Says how long to wait before it is asked again.
    pub(crate) fn failed(&mut self, error: &Error) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LAST_PAUSE);
        self.trouble.failed(self.what, error, pause);
        pause
    }

    /// As [`Asker::failed`], where the store had said nothing for this long.
    pub(crate) fn late(&mut self, operation: &'static str, after: Duration) -> Duration {
        let url = self.trouble.0.store.to_string();
        self.failed(&Error::Timeout { operation, url, after })
    }

    /// The store failed: waits before it is asked again.
    pub(crate) async fn pause(&mut self, error: &Error) {
        let pause = self.failed(error);
        tokio::time::sleep(pause).await;
    }

    /// The store answered.
    pub(crate) fn worked(&mut self) {
        self.pause = FIRST_PAUSE;
        self.trouble.worked(self.what);
    }
}
