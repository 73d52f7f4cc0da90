//! What follows tasks: callbacks, chains, groups and chords, and errbacks where something fails.

mod builtins;
mod canvas;
mod failing;
mod replacing;
mod succeeding;
mod trees;
