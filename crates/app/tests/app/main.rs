//! Declaring, sending and reading results, on the store in memory.

mod canvas;
mod composed_form;
mod composing;
mod declare;
mod fixture;
mod lifecycle;
mod outcome;
mod send;
mod workflow;
