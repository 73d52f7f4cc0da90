//! Spans on their way to a collector, over OTLP: HTTP with Protocol Buffers.
//!
//! - [`env`] reads the variables that OpenTelemetry has for it;
//! - [`exporter`] keeps spans, up to a number, and has a thread that sends them;
//! - [`client`] is the HTTP that it speaks;
//! - [`data`] turns spans into those of the crate `opentelemetry_sdk`.

mod client;
mod data;
mod env;
mod exporter;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;

pub use env::EnvError;
