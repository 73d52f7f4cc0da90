//! The first moments of a worker: signals are heard and probes answered before anything slow, such as loading an application.

use std::io::Write;
use std::net::SocketAddr;

use celeriac_worker::{EarlyProbes, Exit, ServiceManager, Shutdown, Stopper};
use tokio::runtime::{Builder, Runtime};

use crate::args::Cli;
use crate::failure::Failure;
use crate::hosted::Hosted;
use crate::{settings, start_runtime, worker};

/// Loads the application of the command line, if it names one, and says with what the worker goes on. Where a signal comes
/// meanwhile, says how the worker ends instead.
pub(crate) fn load(
    cli: &Cli,
    args: &worker::Args,
    err: &mut dyn Write,
) -> Result<Result<Option<(Hosted, Start)>, Exit>, Failure> {
    let hosts_application = cli.common.app.is_some();
    args.daemon.apply(hosts_application)?;
    if !hosts_application {
        return Ok(Ok(None));
    }
    let mut start = Start::new(true)?;
    // One that leaves this process answers there.
    if !args.daemon.wants_background(true)
        && let Some(address) = settings::metrics_address(cli)
    {
        start.answer_probes(address)?;
    }
    let hosted = match start.unless_stopped(Hosted::load(&cli.common, args, &cli.extra)) {
        Ok(hosted) => hosted?,
        Err(exit) => {
            let _ = writeln!(err, "the worker was told to end while its application was being loaded");
            return Ok(Err(exit));
        }
    };
    hosted.iter().try_for_each(|hosted| args.daemon.apply_settings(hosted.command()))?;
    Ok(Ok(hosted.map(|hosted| (hosted, start))))
}

/// What a worker has before anything else.
pub(crate) struct Start {
    /// One thread for the worker itself: tasks and leases have threads of their own.
    pub(crate) runtime: Runtime,
    pub(crate) stopper: Stopper,
    pub(crate) shutdown: Shutdown,
    /// None where it is not known yet who asks.
    pub(crate) probes: Option<EarlyProbes>,
}

impl Start {
    /// Hears signals from now on.
    pub(crate) fn new(hosts_application: bool) -> Result<Self, Failure> {
        let runtime = start_runtime(&mut Builder::new_current_thread())?;
        let in_runtime = runtime.enter();
        let listening = celeriac_worker::shutdown_by_signals(hosts_application && remaps_terminate());
        drop(in_runtime);
        let (stopper, shutdown) = listening
            .map_err(|error| Failure::because("the system's signals cannot be listened to", &error))?;
        Ok(Self { runtime, stopper, shutdown, probes: None })
    }

    /// Answers probes from now on.
    fn answer_probes(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let probes = EarlyProbes::start(address, service_manager());
        self.probes = Some(probes.map_err(|error| Failure::because("the worker cannot start", &error))?);
        Ok(())
    }

    /// Does this before the worker starts; a signal ends it, and says how the worker ends.
    fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Exit> {
        let Self { runtime, shutdown, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                exit = shutdown.before_start() => Err(exit),
                done = work => Ok(done),
            }
        })
    }
}

/// Who has started this process and wants to hear of it.
pub(crate) fn service_manager() -> Option<ServiceManager> {
    ServiceManager::named_by(|name| std::env::var_os(name), std::process::id())
}

/// Source: `billiard/common.py`, `REMAP_SIGTERM`, billiard 4.3.2, which reads it from the environment.
fn remaps_terminate() -> bool {
    std::env::var_os("REMAP_SIGTERM").is_some_and(|signal| signal == "SIGQUIT")
}
