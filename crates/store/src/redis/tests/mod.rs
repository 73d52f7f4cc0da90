//! The laws of all stores, on servers of the tests' own.

mod laws;
mod restoring;
mod server;
