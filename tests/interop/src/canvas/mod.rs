//! Canvases: the tasks they are made of, and a program that sends them.

mod sender;
mod tasks;

pub use sender::serve;
pub(crate) use tasks::all;
