//! What Celery puts on the wire: messages, bodies, signatures and results.
//!
//! This crate turns bytes into types and back. It does no I/O, reads no clock and knows no server. Every decoder of
//! outside bytes is total: it returns an error where others would panic, and its memory is bounded by its input.
//!
//! - [`Message`] is what brokers carry: [`Headers`], [`Properties`] and an encoded body.
//! - [`body`] decodes and encodes that body: [`Arguments`] and what follows the task.
//! - [`Value`] is any argument or result, with serde in both directions.
//! - [`control`] is what workers are told by remote control, and what they reply.
//! - [`ResultRecord`] is a stored result; [`TaskException`] a failure in it.

pub mod body;
pub mod compression;
pub mod control;
mod envelope;
mod error;
pub mod events;
mod exception;
mod group_records;
mod headers;
mod ids;
pub mod json;
mod message;
pub mod msgpack;
mod properties;
mod protocol1;
pub mod repr;
mod result;
mod serializer;
mod signature;
mod timestamp;
mod value;
mod wtf8;

pub use body::{Arguments, Embed};
pub use compression::Compression;
pub use envelope::Envelope;
pub use error::{DecodeError, EncodeError};
pub use exception::TaskException;
pub use group_records::{PartRecord, decode_group, encode_group};
pub use headers::{Headers, TimeLimits};
pub use ids::{GroupId, QueueName, TaskId, TaskName};
pub use message::Message;
pub use properties::Properties;
pub use result::{MAX_RESULT_DEPTH, ResultRecord, State};
pub use serializer::Serializer;
pub use signature::{Shape, Signature};
pub use timestamp::{Timestamp, TimestampError};
pub use value::{Value, ValueError};
