//! The tasks of which canvases are composed, with the types that they have here; by name those that may be called with less
//! than they take.

use celeriac::canvas::Step;
use celeriac::prelude::*;
use celeriac::protocol::TaskId;

use crate::canvas::tasks;

/// `x + y`.
pub(super) fn add(x: i64, y: i64) -> Signature<i64> {
    tasks::add.s(x, y).returning()
}

/// This more.
pub(super) fn plus(y: i64) -> Step<i64, i64> {
    tasks::add.step(y).accepting().returning()
}

/// The sum of two numbers, for those who call it with many pairs.
pub(super) fn sum() -> Step<i64, i64> {
    Step::named("canvas.add", args![], kwargs! {})
}

/// The sum of all.
pub(super) fn total() -> Step<Vec<i64>, i64> {
    tasks::total.step().accepting()
}

/// What it is given.
pub(super) fn echo(value: impl Into<Value>) -> Signature<i64> {
    tasks::echo.s(value.into()).returning()
}

/// What came before.
pub(super) fn same<T>() -> Step<T, T> {
    tasks::echo.step().accepting().returning()
}

/// What a task knows of its own call.
pub(super) fn whoami() -> Signature<Value> {
    Signature::named("canvas.whoami", args![], kwargs! {})
}

/// What came before, and this.
pub(super) fn note<T>(what: &str) -> Step<T, Vec<Value>> {
    Step::named("canvas.note", args![what], kwargs! {})
}

/// Fails, whatever came before.
pub(super) fn failing<T>() -> Step<T, i64> {
    Step::named("canvas.fail", args![], kwargs! {})
}

/// Fails.
pub(super) fn fail() -> Signature<i64> {
    Signature::named("canvas.fail", args![], kwargs! {})
}

/// Succeeds at the second try.
pub(super) fn again(value: i64) -> Signature<i64> {
    tasks::again.s(value).returning()
}

/// Succeeds at the second try with what came before.
pub(super) fn again_with<T>() -> Step<T, T> {
    tasks::again.step().accepting().returning()
}

/// Returns what nobody wants to know.
pub(super) fn hush() -> Step<i64, i64> {
    tasks::hush.step().accepting().returning()
}

/// An errback that is told the id of what failed.
pub(super) fn told() -> Step<TaskId, Value> {
    tasks::told.step().accepting().returning()
}

/// An errback that is told this.
pub(super) fn told_of(what: &str) -> Signature<Value> {
    tasks::told.s(what).returning()
}
