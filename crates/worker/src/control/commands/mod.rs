//! The commands, one file for each family.

mod application;
mod changes;
mod events;
mod greetings;
mod limits;
mod memory;
mod pool;
mod queues;
mod registered;
mod revoke;
mod settings;
mod shutdown;
mod stats;
mod tasks;

pub(crate) use memory::MemorySamples;
