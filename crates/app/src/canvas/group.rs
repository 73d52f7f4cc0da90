//! Groups: calls that run at the same time; and what is called with all they return.

use std::fmt;
use std::marker::PhantomData;

use celeriac_protocol::Value;

use crate::Signature;
use crate::canvas::build::{self, Composed, stamp};
use crate::canvas::step::{Errback, Next, Step};
use crate::signature::{SendOptions, send_options};

/// Calls that run at the same time, each of which returns a `T`; `R` is what they return together.
#[must_use = "a group does nothing until it is sent"]
pub struct Group<T = Value, R = Vec<T>> {
    pub(crate) composed: Composed,
    result: PhantomData<fn() -> (T, R)>,
}

/// Calls that run at the same time, that all lack the same first argument, an `A`, and each return a `T`.
#[must_use = "a group does nothing until it follows a call that is sent"]
pub struct GroupStep<A, T = Value> {
    pub(crate) composed: Composed,
    result: PhantomData<fn(A) -> T>,
}

/// What a group may be made of: complete calls, steps that all take the same, or groups of either.
pub trait Member: Sized {
    /// The group of such members.
    type Group;

    #[doc(hidden)]
    fn into_member(self) -> Composed;

    #[doc(hidden)]
    fn group(composed: Composed) -> Self::Group;
}

impl<T> Member for Signature<T> {
    type Group = Group<T>;

    fn into_member(self) -> Composed {
        Composed::of(self)
    }

    fn group(composed: Composed) -> Group<T> {
        Group::new(composed)
    }
}

impl<A, T> Member for Step<A, T> {
    type Group = GroupStep<A, T>;

    fn into_member(self) -> Composed {
        Composed::of(self.call)
    }

    fn group(composed: Composed) -> GroupStep<A, T> {
        GroupStep::new(composed)
    }
}

/// Its members are members of the outer group.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Group, Step, group};
///
/// let load = |n: i64| Signature::<i64>::named("proj.load", args![n], kwargs! {});
/// let square = Step::<i64, i64>::named("proj.square", args![], kwargs! {});
/// let cube = Step::<i64, i64>::named("proj.cube", args![], kwargs! {});
/// // Four results: the square and the cube of each number.
/// let powers: Group<i64> = group([2, 3].map(|n| load(n).then(group([square.clone(), cube.clone()]))));
/// # let _ = powers;
/// ```
impl<T, R> Member for Group<T, R> {
    type Group = Group<T>;

    fn into_member(self) -> Composed {
        self.composed
    }

    fn group(composed: Composed) -> Group<T> {
        Group::new(composed)
    }
}

/// Its members are members of the outer group.
impl<A, T> Member for GroupStep<A, T> {
    type Group = Self;

    fn into_member(self) -> Composed {
        self.composed
    }

    fn group(composed: Composed) -> Self {
        Self::new(composed)
    }
}

/// Calls that run at the same time.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Group, Step, group};
///
/// let squares: Group<i64> = group((0..100).map(|n| Signature::named("proj.square", args![n], kwargs! {})));
/// // With something after it, it is a chord:
/// let total = Step::<Vec<i64>, i64>::named("proj.total", args![], kwargs! {});
/// let sum: Signature<i64> = squares.then(total);
/// # let _ = sum;
/// ```
pub fn group<M: Member>(members: impl IntoIterator<Item = M>) -> M::Group {
    let members = members.into_iter();
    let mut values = Vec::with_capacity(members.size_hint().0);
    let mut error = None;
    for member in members {
        let member = member.into_member();
        error = error.or(member.error);
        values.push(member.signature.into_value());
    }
    M::group(Composed { signature: build::group(values), error })
}

/// A header, and what is called with what its members return: as `header.then(body)`.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Step, chord, group};
///
/// let square = |n: i64| Signature::<i64>::named("proj.square", args![n], kwargs! {});
/// let total = Step::<Vec<i64>, i64>::named("proj.total", args![], kwargs! {});
/// let sum: Signature<i64> = chord(group((1..=3).map(square)), total);
/// # let _ = sum;
/// ```
///
/// A body takes what the header returns together, not what each of its members returns:
///
/// ```compile_fail
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Step, chord, group};
///
/// let square = |n: i64| Signature::<i64>::named("proj.square", args![n], kwargs! {});
/// let text = Step::<i64, String>::named("proj.text", args![], kwargs! {});
/// let texts = chord(group((1..=3).map(square)), text);
/// ```
pub fn chord<T, R, N: Next<R>>(header: Group<T, R>, body: N) -> N::After {
    header.then(body)
}

/// A chain that begins with this call: the call itself, for those who like to read the word.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Step, chain};
///
/// let first = Signature::<i64>::named("proj.add", args![1, 1], kwargs! {});
/// let mut workflow = chain(first);
/// for n in 0..1000 {
///     workflow = workflow.then(Step::<i64, i64>::named("proj.add", args![n], kwargs! {}));
/// }
/// # let _ = workflow;
/// ```
pub fn chain<T>(first: Signature<T>) -> Signature<T> {
    first
}

/// Calls of different types that run at the same time.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Step, group_of};
///
/// let name = Signature::<String>::named("proj.name", args![7], kwargs! {});
/// let age = Signature::<u8>::named("proj.age", args![7], kwargs! {});
/// let greet = Step::<(String, u8), String>::named("proj.greet", args![], kwargs! {});
/// let greeting: Signature<String> = group_of((name, age)).then(greet);
/// # let _ = greeting;
/// ```
pub fn group_of<M: Members>(members: M) -> Group<Value, M::Results> {
    let members = members.into_members();
    let Group { composed, .. } = group(members);
    Group::new(composed)
}

/// Tuples of complete calls.
pub trait Members {
    /// What they return together.
    type Results;

    #[doc(hidden)]
    fn into_members(self) -> Vec<Signature<Value>>;
}

macro_rules! members {
    ($($name:ident $place:tt),*) => {
        impl<$($name),*> Members for ($(Signature<$name>,)*) {
            type Results = ($($name,)*);

            fn into_members(self) -> Vec<Signature<Value>> {
                vec![$(self.$place.returning()),*]
            }
        }
    };
}

members!(A 0, B 1);
members!(A 0, B 1, C 2);
members!(A 0, B 1, C 2, D 3);
members!(A 0, B 1, C 2, D 3, E 4);
members!(A 0, B 1, C 2, D 3, E 4, F 5);

impl<T, R> Group<T, R> {
    pub(crate) fn new(composed: Composed) -> Self {
        Self { composed, result: PhantomData }
    }

    /// What is called with all they return, which makes it a chord; or at once after them.
    pub fn then<N: Next<R>>(self, next: N) -> N::After {
        N::after(self.composed, next)
    }

    /// Calls this when a member fails, with the id of that member.
    pub fn link_error(mut self, errback: impl Errback) -> Self {
        link_error(&mut self.composed, errback);
        self
    }

    /// Stamps all members.
    pub fn stamp(mut self, name: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        stamp(&mut self.composed.signature, &name.into(), &value.into());
        self
    }

    fn with(self, change: impl FnOnce(&mut SendOptions)) -> Self {
        Self::new(with(self.composed, change))
    }

    send_options! {}
}

impl<A, T> GroupStep<A, T> {
    pub(crate) fn new(composed: Composed) -> Self {
        Self { composed, result: PhantomData }
    }

    /// What is called with all they return, which makes it a chord; or at once after them.
    pub fn then<N: Next<Vec<T>>>(self, next: N) -> N::AfterStep<A> {
        N::after_step(self.composed, next)
    }

    /// Calls this when a member fails, with the id of that member.
    pub fn link_error(mut self, errback: impl Errback) -> Self {
        link_error(&mut self.composed, errback);
        self
    }

    /// Stamps all members.
    pub fn stamp(mut self, name: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        stamp(&mut self.composed.signature, &name.into(), &value.into());
        self
    }

    fn with(self, change: impl FnOnce(&mut SendOptions)) -> Self {
        Self::new(with(self.composed, change))
    }

    send_options! {}
}

fn link_error(composed: &mut Composed, errback: impl Errback) {
    let errback = errback.into_errback();
    build::link(&mut composed.signature, "link_error", &errback.signature);
    composed.error = composed.error.take().or(errback.error);
}

fn with(composed: Composed, change: impl FnOnce(&mut SendOptions)) -> Composed {
    let error = composed.error.clone();
    let mut composed = Composed::of(composed.into_signature::<Value>().with(change));
    composed.error = error;
    composed
}

impl<T, R> Clone for Group<T, R> {
    fn clone(&self) -> Self {
        Self::new(self.composed.clone())
    }
}

impl<A, T> Clone for GroupStep<A, T> {
    fn clone(&self) -> Self {
        Self::new(self.composed.clone())
    }
}

impl<T, R> fmt::Debug for Group<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.composed.signature).finish()
    }
}

impl<A, T> fmt::Debug for GroupStep<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupStep").field(&self.composed.signature).finish()
    }
}
