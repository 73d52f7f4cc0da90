//! What others see of a worker while it runs: probes, metrics, and what its service manager is told.
//!
//! Off unless somebody asks for it; then no other part of the worker does anything for it. A thread of its own answers, so
//! that it can say of a loop that hangs that it hangs. What it says of the store and of fetching it knows beforehand
//! ([`vitals`]): no probe asks the broker, a pool or Python, or waits for anything else. What takes long, the text of a
//! scrape, is made on another thread.
//!
//! - [`vitals`]: whether the worker lives, fetches, and has ever done so, as a state machine;
//! - [`pulse`]: asks the loop twice a second whether it turns;
//! - [`watch`]: asks the store every second whether it answers, and what waits in the queues when somebody wants to know;
//! - [`counts`]: what the loop counts, and [`snapshot`]: what it tells of itself at a scrape;
//! - [`text`], [`families`] and [`render`]: all of it in the text format of OpenMetrics;
//! - [`server`]: answers over HTTP;
//! - [`early`]: does so before there is a worker;
//! - [`priority`]: has the system run that thread soon;
//! - [`service`]: tells systemd.

mod counts;
mod early;
mod families;
#[cfg(test)]
mod parser;
mod priority;
mod pulse;
mod render;
mod server;
mod service;
mod snapshot;
mod text;
mod vitals;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::consumer::Input;

pub(crate) use counts::Counts;
pub use early::EarlyProbes;
pub(crate) use early::{Wire, go_on};
pub use service::ServiceManager;
pub(crate) use snapshot::{PoolState, Snapshot};
pub(crate) use vitals::{Signs, Standing, Vitals};
pub(crate) use watch::{QueuesAsked, StoreWatch};

/// How many scrapes may wait for the store at once; more are answered without it.
const SCRAPES: usize = 4;

/// Answers probes and scrapes until it is dropped.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// Where it is to answer.
    address: Option<SocketAddr>,
    /// Where it does: the system may have chosen the port.
    bound: Option<SocketAddr>,
    signs: Signs,
    queues: Option<mpsc::Receiver<QueuesAsked>>,
    _until_dropped: oneshot::Sender<()>,
}

impl Monitor {
    /// Starts to answer at this address, and to tell the service manager; `None` where there is neither.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub(crate) fn start(
        address: Option<SocketAddr>,
        service_manager: Option<ServiceManager>,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Result<Option<Self>, Error> {
        if address.is_none() && service_manager.is_none() {
            return Ok(None);
        }
        let listener = address.map(listen).transpose()?;
        // Port 0 has the system choose one.
        let bound = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let signs = Signs::default();
        let (until_dropped, dropped) = oneshot::channel();
        let (ask, queues) = mpsc::channel(SCRAPES);
        let desk = server::Desk { signs: signs.clone(), inputs: inputs.clone(), queues: ask };
        let pulse = pulse::Pulse::new(signs.clone(), inputs, service_manager);
        let runtime = start_runtime()?;
        let work = async move {
            let serving = listener.map(|listener| tokio::spawn(server::serve(listener, desk)));
            tokio::select! {
                () = pulse.run() => {}
                _ = dropped => {}
            }
            drop(serving);
        };
        thread::Builder::new()
            .name("celeriac-monitor".to_owned())
            .spawn(move || {
                priority::raise();
                runtime.block_on(work);
            })
            .map_err(failed)?;
        Ok(Some(Self { address, bound, signs, queues: Some(queues), _until_dropped: until_dropped }))
    }

    /// Says in the log where it answers.
    pub(crate) fn say_where(&self) {
        if let Some(bound) = self.bound {
            tracing::info!("metrics and probes at http://{bound}/metrics, /live, /ready and /startup");
        }
    }

    /// What the parts of the worker note down what they do on.
    pub(crate) fn signs(&self) -> Signs {
        self.signs.clone()
    }

    /// Those who want to know what waits in the queues.
    pub(crate) fn take_queues(&mut self) -> Option<mpsc::Receiver<QueuesAsked>> {
        self.queues.take()
    }
}

fn start_runtime() -> Result<Runtime, Error> {
    // Its other threads make texts for scrapers, which nobody waits for as for a probe.
    let usual = priority::of_this_thread();
    let lower = move || priority::lower_to(usual);
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(1).on_thread_start(lower).build().map_err(failed)
}

fn failed(source: std::io::Error) -> Error {
    Error::Spawn { what: "the thread that answers probes".to_owned(), source }
}

/// Takes the address at once, so that a worker whose probes nobody could reach does not start.
fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| Error::Listen { address, source })
}
