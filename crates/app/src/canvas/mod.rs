//! Canvas: chains, groups and chords, and what becomes of them when they are sent.
//!
//! A composition is a [`protocol::Signature`](celeriac_protocol::Signature) in Celery's own form, whoever composed it.
//! [`App::unfold`](crate::App::unfold) says what applying one publishes and which results that will have; it sends nothing.
//! A program that sends a composition, and a worker that sends callbacks, the next step of a chain, the body of a
//! chord or errbacks, all use it, so that there is one way from a signature to messages.
//!
//! - `node.rs` is a signature taken apart, `options.rs` its options.
//! - `freeze.rs` gives every task its id, its group and its chord; `steps.rs` makes the steps of a chain.
//! - `unfold.rs` walks over what runs first and makes messages of it, batch by batch.
//! - `results.rs` is the tree of results.

mod apply;
mod freeze;
mod node;
mod options;
mod results;
mod steps;
mod unfold;
mod wire;

pub use apply::{Apply, Parent, Unfolded};
pub use results::{ResultNode, ResultTree};
pub(crate) use unfold::Unfolding;

/// The most levels of compositions within compositions. Readers take JSON that is nested
/// [512](celeriac_protocol::json::MAX_DEPTH) levels deep, and one level here is up to three there.
pub const MAX_DEPTH: u32 = 128;
