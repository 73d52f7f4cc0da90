//! What a worker does, from a message in a queue to its stored result.

mod delivering;
mod harness;
mod limiting;
mod presence;
mod rates;
mod replying;
mod resources;
mod retrying;
mod revoking;
mod running;
mod signalling;
mod sizing;
mod stopping;
mod suspecting;
mod tracing;
mod workflows;
