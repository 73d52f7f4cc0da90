//! The pool with real children: this test executable, started again.
//!
//! A child runs one of the tests in [`programs`], which do nothing when they run as tests.

mod deaths;
mod harness;
mod isolation;
mod jobs;
mod kills;
mod log;
mod programs;
mod recycling;
mod shutdown;
mod sizes;
mod starts;
