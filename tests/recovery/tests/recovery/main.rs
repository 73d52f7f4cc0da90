//! Kills workers, pool children and servers, and accounts for every task.

mod harness;
mod kill;
mod outages;
mod poison;
mod telling;
