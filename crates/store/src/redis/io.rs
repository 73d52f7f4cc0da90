//! The thread that drives the connections.

use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// A thread with a runtime of its own. What runs there ends when this is dropped.
///
/// The connections live there, and not in the runtime of whoever asks first: that one may end before the others do, and a
/// task that blocks it must hold up neither answers nor leases.
pub(super) struct Io {
    handle: Handle,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

impl Io {
    /// Starts the thread.
    pub(super) fn start(url: &str) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Failed { url: url.to_owned(), reason: error.to_string() };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("celeriac-redis".to_owned())
            .spawn(move || drop(runtime.block_on(ended)))
            .map_err(failed)?;
        Ok(Self { handle, _end: end })
    }

    /// What starts tasks on the thread.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `future` on the thread, whether or not anybody waits for it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(future)
    }
}
