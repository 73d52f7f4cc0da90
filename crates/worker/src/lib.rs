//! Running tasks: what lies between a delivery and its stored outcome.
//!
//! A worker has one input loop with one closed input type. The loop fetches deliveries, makes each a
//! [`request`](self), and hands it as a job to one of the pools: async, threads or prefork. The executor runs the
//! steps around one task inside a pool's slot and says how it ended; the finisher makes outcomes durable in batches.

mod admission;
mod background;
mod builtins;
mod check;
mod connecting;
mod consumer;
mod control;
mod death;
mod decode;
mod error;
mod events;
mod executor;
mod failure;
mod fetcher;
mod finish;
mod finisher;
mod host;
mod lease;
mod monitoring;
mod opening;
mod options;
#[cfg(target_os = "linux")]
mod orphans;
mod os_signals;
mod outcome;
mod panic;
mod pool;
mod prefetch;
mod rate;
mod reports;
mod request;
mod retry;
mod run;
mod shutdown;
mod signum;
mod spans;
mod stamps;
mod table;
mod telling;
#[cfg(test)]
mod testing;
mod timers;
mod trouble;
mod workflow;

pub use error::{Error, Exit};
pub use events::Switch as EventSwitch;
pub use monitoring::{EarlyProbes, ServiceManager};
pub use options::{Options, Placement};
pub use os_signals::shutdown_by_signals;
pub use pool::prefork::{
    CommandLine, Description, HostPool, HostPoolKind, HostedBinding, HostedTask, Launch, Refused, Template,
    Unsupported,
};
pub use pool::run_if_child;
pub use run::{Connected, connect, run};
pub use shutdown::{Shutdown, Stopper};
