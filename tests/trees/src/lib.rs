//! Random compositions of tasks, for tests that compare what workers make of them with what they come to when everything
//! runs one after the other.
//!
//! A [`Nursery`] draws a [`Tree`]; [`Tree::signature`] is what is sent. Its tasks do what [`perform`] says, wherever they run.
//! [`Reference::of`] is what should come of each of them, and [`Outcome`] what should come of the whole.

mod draw;
mod fault;
mod perform;
mod program;
mod reference;
mod tree;
mod wire;

pub use draw::Nursery;
pub use fault::{Cause, Fault};
pub use perform::{TASKS, number_of, perform};
pub use program::{run_of, tasks};
pub use reference::{End, Node, Outcome, Reference};
pub use tree::{Deed, Task, Tree};
pub use wire::composed;
