//! MessagePack as kombu reads and writes it.
//!
//! Text and bytes are kept apart (`use_bin_type=True`, `raw=False`). A timestamp becomes a [`Value::DateTime`]; what
//! only JSON has a wrapper for is written as text.
//!
//! Source: `kombu/serialization.py`, `register_msgpack`, kombu 5.7.0; `msgpack/fallback.py`, msgpack 1.2.4.
//!
//! [`Value::DateTime`]: crate::Value::DateTime

mod parse;
mod write;

pub use parse::parse;
pub use write::to_bytes;
