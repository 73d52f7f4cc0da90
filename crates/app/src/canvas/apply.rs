//! How a signature is applied, and what that brings.

use celeriac_protocol::{Signature, TaskId, Value};
use celeriac_store::Publication;

use crate::canvas::options::Options;
use crate::canvas::{ResultTree, Unfolding};
use crate::producer::SendError;
use crate::{App, Context};

/// How a signature is applied: what Celery's `apply_async` takes.
#[derive(Clone, Debug, Default)]
pub struct Apply {
    /// Arguments put before those of the signature, unless it is immutable: the result of the task before.
    pub args: Vec<Value>,
    /// Keyword arguments that go before those of the signature, unless it is immutable.
    pub kwargs: Vec<(Box<str>, Value)>,
    /// Options that go before those of the signature, named as Celery's `apply_async` has them.
    pub options: Vec<(Box<str>, Value)>,
    /// The steps that follow, the last one first: what is left of the chain whose step this is.
    pub chain: Vec<Signature>,
    /// The task that applies it.
    pub parent: Option<Parent>,
}

/// The running task that sends others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub id: TaskId,
    /// The first task of its workflow: itself, if no other sent it.
    pub root_id: TaskId,
}

impl From<&Context> for Parent {
    fn from(context: &Context) -> Self {
        Self { id: context.id().clone(), root_id: context.root_id().clone() }
    }
}

impl Apply {
    /// As a task applies its callbacks and the next step of its chain: with its result as the first argument.
    ///
    /// Source: `celery/app/trace.py`, `_dispatch_callbacks_and_chain`, Celery 5.7.0.
    pub fn callback(result: Value, parent: Parent) -> Self {
        let options = vec![
            ("parent_id".into(), Value::from(parent.id.as_str())),
            ("root_id".into(), Value::from(parent.root_id.as_str())),
        ];
        Self { args: vec![result], options, parent: Some(parent), ..Self::default() }
    }

    /// As [`Apply::callback`], with the steps that follow, the last one first.
    #[must_use]
    pub fn then(mut self, chain: Vec<Signature>) -> Self {
        self.chain = chain;
        self
    }

    pub(super) fn take_options(&mut self) -> Options {
        let mut options = Options::from_entries(std::mem::take(&mut self.options));
        if !self.chain.is_empty() {
            options.chain = Some(std::mem::take(&mut self.chain).into());
        }
        options
    }
}

/// What applying a signature brings.
#[derive(Clone, Debug)]
pub struct Unfolded {
    /// The messages that run first, the chords that begin with them, and the groups to remember.
    pub publication: Publication,
    /// What the caller gets: the result of the last step, of the group, or of the body of the chord. None for a
    /// chain of nothing.
    pub result: Option<ResultTree>,
    /// What becomes a child of the task that applies it, as Celery's result tuples, for its record.
    pub children: Vec<Value>,
}

impl App {
    /// What applying this signature publishes, and which results that will have. Nothing is sent.
    ///
    /// The signature is as messages carry it: on Redis, its priorities count down as kombu's do there.
    ///
    /// # Errors
    /// What is wrong with the signature or one of those in it.
    pub fn unfold(&self, signature: Signature, apply: Apply) -> Result<Unfolded, SendError> {
        self.unfold_all(Unfolding::start(self, signature, apply)?)
    }

    pub(super) fn unfold_all(&self, mut unfolding: Unfolding<'_>) -> Result<Unfolded, SendError> {
        let publication = unfolding.next_batch(usize::MAX)?.unwrap_or_default();
        Ok(Unfolded { publication, result: unfolding.result(), children: unfolding.children() })
    }
}
