//! Celeriac and real Celery on the same queues, each as producer, worker and reader of results.
//!
//! `CELERIAC_TEST_PYTHON` names the interpreter whose Celery this is; `cargo xtask test` makes one for each release that
//! must interoperate.

mod apps;
mod canvases;
mod chords;
mod command_line;
mod commanding;
mod control;
mod embedded;
mod endings;
mod events;
mod fates;
mod harness;
mod inspecting;
mod leases;
mod package;
mod pools;
mod python_sends;
mod relay;
mod rust_sends;
mod secrets;
mod shapes;
mod starting;
mod takeover;
mod together;
mod tools;
