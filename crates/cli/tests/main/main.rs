//! The command line as its users meet it: the program in `program.rs`, run as a process on a store in a temporary folder.

mod control;
mod daemon;
mod harness;
mod monitoring;
#[path = "../../../worker/src/monitoring/parser.rs"]
mod openmetrics;
mod settings;
mod stores;
mod worker;
mod workflows;
