//! Canvas: chains, groups and chords, and what becomes of them when they are sent.
//!
//! Calls are composed with [`Signature::then`](crate::Signature::then), [`group`] and [`chord`], and sent as a single call
//! is. [`Step`]s are calls that lack their first argument, and the compiler checks that it is what comes before them.
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
//!
//! What Rust programs compose with is in `step.rs`, `group.rs` and `map.rs`; `build.rs` puts it into Celery's form, `send.rs`
//! sends it, and `group_result.rs` is what becomes of a group.

mod apply;
mod build;
mod freeze;
mod group;
mod group_result;
mod map;
mod node;
mod options;
mod results;
mod send;
mod step;
mod steps;
mod unfold;
mod wire;

pub use apply::{Apply, Parent, Unfolded};
pub use build::Composed;
pub use group::{Group, GroupStep, Member, Members, chain, chord, group, group_of};
pub use group_result::{AnyResult, GroupResult, GroupResults};
pub use map::{chunks, map, starmap};
pub use results::{ResultNode, ResultTree};
pub use step::{Errback, Next, Step};
pub(crate) use unfold::Unfolding;

/// The most levels of compositions within compositions. Readers take JSON that is nested
/// [512](celeriac_protocol::json::MAX_DEPTH) levels deep, and one level here is up to three there.
pub const MAX_DEPTH: u32 = 128;
