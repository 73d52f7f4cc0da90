//! Running tasks: what lies between a delivery and its stored outcome.
//!
//! A worker has one input loop with one closed input type. The loop fetches deliveries, makes each a
//! [`request`](self), and hands it as a job to one of the pools: async, threads or prefork. The executor runs the
//! steps around one task inside a pool's slot and says how it ended; the finisher makes outcomes durable in batches.

mod death;
mod error;
mod options;
mod outcome;
mod pool;
mod request;

pub use error::{Error, Exit};
pub use options::Options;
