//! Canvases: the tasks they are made of, canvases of them, and a program that sends these and others.

pub mod composed;
mod sender;
mod tasks;

pub use sender::serve;
pub(crate) use tasks::all;
