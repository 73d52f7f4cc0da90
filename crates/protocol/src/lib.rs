//! What Celery puts on the wire: messages, bodies, signatures and results.
//!
//! This crate turns bytes into types and back. It does no I/O, reads no clock and knows no server.

mod ids;
mod message;
mod result;
mod timestamp;
mod value;

pub use ids::{QueueName, TaskId, TaskName};
pub use message::{Headers, Message, Properties, TimeLimits};
pub use result::{ResultRecord, State, TaskException};
pub use timestamp::Timestamp;
pub use value::Value;
