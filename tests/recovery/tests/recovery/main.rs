//! Kills workers, pool children and servers, and accounts for every task.

mod canvases;
mod harness;
mod kill;
mod outages;
mod poison;
mod readiness;
mod starting;
mod telling;
mod trees;
