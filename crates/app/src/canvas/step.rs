//! Steps: calls that lack their first argument, and what may come after what.

use std::fmt;
use std::marker::PhantomData;

use celeriac_protocol::{TaskId, TaskName, Value};
use serde::Serialize;

use crate::Signature;
use crate::canvas::build::{Composed, link, stamp};
use crate::canvas::{Group, GroupStep};
use crate::signature::{EncodedArgument, SendOptions, send_options};
use crate::task::Task;

/// A call that lacks its first argument, an `A`, and returns a `T`: what `task.step(...)` makes. What runs before it gives
/// the argument.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::Step;
///
/// let sum = Signature::<i64>::named("proj.add", args![1, 2], kwargs! {});
/// let text = Step::<i64, String>::named("proj.text", args![], kwargs! { base: 16 });
/// let workflow: Signature<String> = sum.then(text);
/// assert_eq!(workflow.task().as_str(), "celery.chain");
/// ```
///
/// The compiler checks that each step takes what the one before it returns:
///
/// ```compile_fail
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::Step;
///
/// let sum = Signature::<i64>::named("proj.add", args![1, 2], kwargs! {});
/// let shout = Step::<String, String>::named("proj.shout", args![], kwargs! {});
/// let workflow = sum.then(shout);
/// ```
#[must_use = "a step does nothing until it follows a call that is sent"]
pub struct Step<A, T = Value> {
    pub(super) call: Signature<T>,
    argument: PhantomData<fn(A)>,
}

impl<A, T> Step<A, T> {
    /// A call of a task by its name, without its first argument.
    pub fn named(
        task: impl Into<TaskName>,
        args: Vec<EncodedArgument>,
        kwargs: Vec<(Box<str>, EncodedArgument)>,
    ) -> Self {
        Self::from_call(Signature::named(task, args, kwargs))
    }

    /// A call of this task with no argument yet, and room for `arity` of them.
    pub fn of<K: Task<Output = T>>(task: &K, arity: usize) -> Self {
        Self::from_call(Signature::of(task, arity))
    }

    pub(super) fn from_call(call: Signature<T>) -> Self {
        Self { call, argument: PhantomData }
    }

    /// Adds a positional argument, after the one that is left out.
    pub fn arg<V: Serialize + ?Sized>(self, value: &V) -> Self {
        Self::from_call(self.call.arg(value))
    }

    /// Adds a keyword argument.
    pub fn kwarg<V: Serialize + ?Sized>(self, name: impl Into<Box<str>>, value: &V) -> Self {
        Self::from_call(self.call.kwarg(name, value))
    }

    /// What comes after it.
    pub fn then<N: Next<T>>(self, next: N) -> N::AfterStep<A> {
        N::after_step(Composed::of(self.call), next)
    }

    /// Calls this with the result, beside what comes after.
    pub fn link<N: Next<T>>(self, callback: N) -> Self {
        Self::from_call(self.call.link(callback))
    }

    /// Calls this when it fails, with the id of the task that failed.
    pub fn link_error(self, errback: impl Errback) -> Self {
        Self::from_call(self.call.link_error(errback))
    }

    /// Stamps it and all it is composed of.
    pub fn stamp(self, name: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        Self::from_call(self.call.stamp(name, value))
    }

    /// The same step for an argument of another type, for those that only meet as data.
    pub fn accepting<B>(self) -> Step<B, T> {
        Step::from_call(self.call)
    }

    /// The same step with a result of another type, for those that only meet as data.
    pub fn returning<U>(self) -> Step<A, U> {
        Step::from_call(self.call.returning())
    }

    fn with(self, change: impl FnOnce(&mut SendOptions)) -> Self {
        Self::from_call(self.call.with(change))
    }

    send_options! {}
}

impl<A, T> Clone for Step<A, T> {
    fn clone(&self) -> Self {
        Self::from_call(self.call.clone())
    }
}

impl<A, T> fmt::Debug for Step<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Step").field(&self.call).finish()
    }
}

impl<T> Signature<T> {
    /// What comes after it: a [`Step`] that takes its result, a [`GroupStep`] whose members all take it, or a complete call,
    /// which ignores it.
    ///
    /// ```
    /// use celeriac_app::{Signature, args, kwargs};
    /// use celeriac_app::canvas::{Step, group};
    ///
    /// let add = |n: i64| Step::<i64, i64>::named("proj.add", args![n], kwargs! {});
    /// let total = Step::<Vec<i64>, i64>::named("proj.total", args![], kwargs! {});
    /// let first = Signature::<i64>::named("proj.add", args![1, 1], kwargs! {});
    /// let workflow: Signature<i64> = first.then(add(2)).then(group([add(3), add(4)])).then(total);
    /// # let _ = workflow;
    /// ```
    pub fn then<N: Next<T>>(self, next: N) -> N::After {
        N::after(Composed::of(self), next)
    }

    /// Calls this with the result, beside what comes after.
    pub fn link<N: Next<T>>(mut self, callback: N) -> Self {
        self.add_link("link", callback.into_composed());
        self
    }

    /// Calls this when it fails, with the id of the task that failed: of a chain when any of its steps fails.
    ///
    /// ```
    /// use celeriac_app::protocol::TaskId;
    /// use celeriac_app::{Signature, args, kwargs};
    /// use celeriac_app::canvas::Step;
    ///
    /// let tell = Step::<TaskId, ()>::named("proj.tell", args![], kwargs! {});
    /// let sum = Signature::<i64>::named("proj.add", args![1, 2], kwargs! {}).link_error(tell);
    /// # let _ = sum;
    /// ```
    pub fn link_error(mut self, errback: impl Errback) -> Self {
        self.add_link("link_error", errback.into_errback());
        self
    }

    fn add_link(&mut self, option: &'static str, callback: Composed) {
        if let Some((_, error)) = callback.error {
            self.error.get_or_insert(error);
        }
        match &mut self.composed {
            Some(composed) => link(composed, option, &callback.signature),
            None => {
                let options = self.options.get_or_insert_default();
                let links = if option == "link" { &mut options.link } else { &mut options.link_error };
                links.push(callback.signature);
            }
        }
    }

    /// Stamps it and all it is composed of: a header that tasks sent later in the workflow carry too.
    pub fn stamp(mut self, name: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        match &mut self.composed {
            Some(composed) => {
                stamp(composed, &name, &value);
                self
            }
            None => self.with(|options| {
                let links = options.link.iter_mut().chain(&mut options.link_error);
                links.for_each(|linked| stamp(linked, &name, &value));
                options.stamps.retain(|(stamp, _)| *stamp != name);
                options.stamps.push((name, value));
            }),
        }
    }

    /// The same call with a result of another type, for those that only meet as data.
    pub fn returning<U>(self) -> Signature<U> {
        let Self { task, defaults, arguments, error, composed, options, .. } = self;
        let mut signature = Signature::named(task, Vec::new(), Vec::new());
        (signature.defaults, signature.arguments, signature.error) = (defaults, arguments, error);
        (signature.composed, signature.options) = (composed, options);
        signature
    }
}

/// What may come after something that returns an `A`.
pub trait Next<A>: sealed::Sealed + Sized {
    /// What a complete call is with this after it.
    type After;
    /// What a step that takes a `B` is with this after it.
    type AfterStep<B>;

    #[doc(hidden)]
    fn into_composed(self) -> Composed;

    #[doc(hidden)]
    fn after(before: Composed, next: Self) -> Self::After;

    #[doc(hidden)]
    fn after_step<B>(before: Composed, next: Self) -> Self::AfterStep<B>;
}

mod sealed {
    pub trait Sealed {}
}

impl<A, T> sealed::Sealed for Step<A, T> {}
impl<T> sealed::Sealed for Signature<T> {}
impl<A, T> sealed::Sealed for GroupStep<A, T> {}
impl<T, R> sealed::Sealed for Group<T, R> {}

impl<A, T> Next<A> for Step<A, T> {
    type After = Signature<T>;
    type AfterStep<B> = Step<B, T>;

    fn into_composed(self) -> Composed {
        Composed::of(self.call)
    }

    fn after(before: Composed, next: Self) -> Signature<T> {
        before.then(Composed::of(next.call)).into_signature()
    }

    fn after_step<B>(before: Composed, next: Self) -> Step<B, T> {
        Step::from_call(Self::after(before, next))
    }
}

impl<A, T> Next<A> for Signature<T> {
    type After = Self;
    type AfterStep<B> = Step<B, T>;

    fn into_composed(self) -> Composed {
        Composed::of(self).immutable()
    }

    fn after(before: Composed, next: Self) -> Self {
        before.then(Composed::of(next).immutable()).into_signature()
    }

    fn after_step<B>(before: Composed, next: Self) -> Step<B, T> {
        Step::from_call(<Self as Next<A>>::after(before, next))
    }
}

impl<A, T> Next<A> for GroupStep<A, T> {
    type After = Group<T>;
    type AfterStep<B> = GroupStep<B, T>;

    fn into_composed(self) -> Composed {
        self.composed
    }

    fn after(before: Composed, next: Self) -> Group<T> {
        Group::new(before.then(next.composed))
    }

    fn after_step<B>(before: Composed, next: Self) -> GroupStep<B, T> {
        GroupStep::new(before.then(next.composed))
    }
}

impl<A, T, R> Next<A> for Group<T, R> {
    type After = Self;
    type AfterStep<B> = GroupStep<B, T>;

    fn into_composed(self) -> Composed {
        self.composed.immutable()
    }

    fn after(before: Composed, next: Self) -> Self {
        Self::new(before.then(next.composed.immutable()))
    }

    fn after_step<B>(before: Composed, next: Self) -> GroupStep<B, T> {
        GroupStep::new(before.then(next.composed.immutable()))
    }
}

/// What may be called when a task fails: a step that takes the id of that task, or a complete call.
///
/// Python tasks that take the request, the exception and the traceback are called with these by workers in Python that know
/// them; from elsewhere they get the id, as every errback does.
///
/// Source: `celery/backends/base.py`, `Backend._call_task_errbacks`, Celery 5.7.0.
pub trait Errback: sealed::Sealed {
    #[doc(hidden)]
    fn into_errback(self) -> Composed;
}

macro_rules! errback {
    ($($id:ty),*) => {
        $(impl<T> Errback for Step<$id, T> {
            fn into_errback(self) -> Composed {
                Composed::of(self.call)
            }
        })*
    };
}

errback!(TaskId, String, Value);

impl<T> Errback for Signature<T> {
    fn into_errback(self) -> Composed {
        Composed::of(self).immutable()
    }
}
