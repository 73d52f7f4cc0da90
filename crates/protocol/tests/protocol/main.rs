//! The wire format against bytes that Celery 5.7.0 and kombu 5.7.0 wrote, in both directions, and round trips.
//!
//! `tests/recorded/record.py` makes the recordings and says how.

mod compression;
mod embeds;
mod json;
mod messages;
mod msgpack;
mod mutations;
mod properties;
mod recorded;
mod repr;
mod results;
mod round_trips;
mod serde_types;
mod signatures;
mod timestamps;
