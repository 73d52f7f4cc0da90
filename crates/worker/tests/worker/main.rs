//! What a worker does, from a message in a queue to its stored result.

mod harness;
mod running;
