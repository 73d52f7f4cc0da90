//! The command line as its users meet it: the program in `program.rs`, run as a process on a store in a temporary folder.

mod control;
mod daemon;
mod harness;
mod settings;
mod stores;
mod worker;
mod workflows;
