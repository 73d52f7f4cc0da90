//! Kills workers and pool children and accounts for every task.

mod harness;
mod kill;
mod poison;
