//! The commands, one file for each family.

mod events;
mod greetings;
mod queues;
mod registered;
mod revoke;
mod shutdown;
mod tasks;
