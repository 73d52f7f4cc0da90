//! Kills workers and pool children and accounts for every task.

mod canvases;
mod harness;
mod kill;
mod poison;
