//! Commands that the program has added: answered beside everything else, on a thread of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use celeriac_app::control::{Asked, Command, CommandError};
use celeriac_protocol::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::panel::{Refusal, nok};
use crate::panic::Caught;

/// How many are answered at once. Who asked more waits for no reply.
const MOST: usize = 16;

/// The longest that one may take.
const LONGEST: Duration = Duration::from_secs(60);

/// The thread on which commands of the program are answered, started by the first.
pub(crate) struct OwnCommands {
    runtime: Option<Runtime>,
    room: Arc<Semaphore>,
}

impl Default for OwnCommands {
    fn default() -> Self {
        Self { runtime: None, room: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Drop for OwnCommands {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // One may block for ever.
            runtime.shutdown_background();
        }
    }
}

impl OwnCommands {
    /// Begins to answer; what comes of it is the reply, whatever the command does.
    ///
    /// # Errors
    /// When too many others are answered, or the system refuses a thread.
    pub(super) fn begin(
        &mut self,
        command: &Command,
        asked: Asked,
    ) -> Result<impl Future<Output = Value> + Send + use<>, Refusal> {
        let full = |_| Refusal::new("RuntimeError", format!("{MOST} other commands are being answered"));
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(full)?;
        if self.runtime.is_none() {
            let started = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("celeriac-commands")
                .enable_all()
                .build();
            let refused = |error: std::io::Error| Refusal::new("OSError", error.to_string());
            self.runtime = Some(started.map_err(refused)?);
        }
        let runtime = self.runtime.as_ref().expect("it was started just now");
        let answering = runtime.spawn(answer(command.answer(asked), room));
        let name = command.form().name.clone();
        Ok(async move {
            let end = answering.abort_handle();
            // Not on that thread, which may be blocked.
            match tokio::time::timeout(LONGEST, answering).await {
                Ok(answered) => answered.unwrap_or_else(|_| nok("the worker has ended")),
                Err(_elapsed) => {
                    end.abort();
                    tracing::error!(%name, "a control command is given up after {LONGEST:?}");
                    nok(format!("it took longer than {} s", LONGEST.as_secs()))
                }
            }
        })
    }
}

async fn answer(
    answering: impl Future<Output = Result<Value, CommandError>> + Send + 'static,
    _room: OwnedSemaphorePermit,
) -> Value {
    match Caught(Box::pin(answering)).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => nok(error.to_string()),
        Err(error) => {
            tracing::error!(%error, "a control command panicked");
            nok("the command panicked: the log of the worker says where")
        }
    }
}
