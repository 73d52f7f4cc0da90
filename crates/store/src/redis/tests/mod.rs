//! The laws of all stores, on servers of the tests' own, and what only a server can do to a client.

mod chords;
mod claims;
mod clocks;
mod databases;
mod desk;
#[cfg(feature = "tls")]
mod encrypted;
mod failover;
mod faults;
mod kills;
mod laws;
mod ordeal;
mod ordering;
mod permissions;
mod places;
mod remains;
mod replying;
mod restarts;
mod restoring;
mod strangers;
