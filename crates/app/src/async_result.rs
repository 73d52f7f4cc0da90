//! What became of a call.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use celeriac_protocol::{ResultRecord, State, TaskException, TaskId, Value, ValueError};
use celeriac_store::{Publish, Revocation, StoreResult};
use serde::de::DeserializeOwned;

use crate::App;
use crate::canvas::{AnyResult, ResultTree};
use crate::producer::SendError;

/// A call that was sent, and what became of it. Cheap to clone; holds no connection of its own.
///
/// ```
/// # use std::time::Duration;
/// # use celeriac_app::{App, args, kwargs};
/// # async fn example(app: App) -> Result<(), Box<dyn std::error::Error>> {
/// let sum = app.send_task::<i64>("proj.add", args![1, 2], kwargs! {}).await?;
/// assert_eq!(sum.get(Duration::from_secs(10)).await?, 3);
/// # Ok(())
/// # }
/// ```
pub struct AsyncResult<T = Value> {
    id: TaskId,
    app: App,
    /// Whether the call was sent with `ignore_result`.
    is_ignored: bool,
    /// What ran before it, if it was sent by this program.
    tree: Option<ResultTree>,
    result: PhantomData<fn() -> T>,
}

/// Why there is no value of a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The task has not ended within the time.
    #[error("task {id} has not ended within {after:?}")]
    Timeout {
        /// The call.
        id: TaskId,
        /// How long was waited.
        after: Duration,
    },

    /// The call was sent with `ignore_result`, by its own options, its task's or the settings: there is nothing to wait for.
    #[error("the result of task {id} is not stored, because it was sent with ignore_result")]
    Ignored {
        /// The call.
        id: TaskId,
    },

    /// The task failed.
    #[error("task {id} failed with {exc_type}: {message}")]
    Failed {
        /// The call.
        id: TaskId,
        /// The name of the error type, or Python class.
        exc_type: Box<str>,
        /// What went wrong.
        message: String,
        /// Where, as text.
        traceback: Option<Box<str>>,
    },

    /// The task was revoked, or had expired.
    #[error("task {id} was revoked ({reason})")]
    Revoked {
        /// The call.
        id: TaskId,
        /// `revoked`, `terminated` or `expired`.
        reason: String,
    },

    /// The task returned something else than a `T`.
    #[error("task {id} returned something else than {expected}")]
    Type {
        /// The call.
        id: TaskId,
        /// The type that was expected.
        expected: &'static str,
        /// What does not fit.
        source: ValueError,
    },

    /// The store could not be asked.
    #[error("the result of task {id} cannot be read")]
    Store {
        /// The call.
        id: TaskId,
        /// What the store said.
        source: celeriac_store::Error,
    },

    /// The store could not be reached.
    #[error(transparent)]
    Connect(#[from] SendError),
}

impl<T> AsyncResult<T> {
    /// What became of the call with this id, which may have been made anywhere.
    pub fn new(id: TaskId, app: App) -> Self {
        Self { id, app, is_ignored: false, tree: None, result: PhantomData }
    }

    /// What became of the call that this message is.
    pub(crate) fn of(id: TaskId, publish: &Publish, app: App) -> Self {
        let is_ignored = publish.message.headers.ignore_result.unwrap_or(false);
        Self { is_ignored, ..Self::new(id, app) }
    }

    /// What became of a composition that was sent.
    pub(crate) fn of_tree(tree: ResultTree, app: App) -> Self {
        let id = tree.id().clone();
        Self { tree: Some(tree), ..Self::new(id, app) }
    }

    /// What ran before it: the step of the chain, or the header of the chord. Known to the program that has sent it.
    ///
    /// ```
    /// # use celeriac_app::AsyncResult;
    /// use celeriac_app::canvas::AnyResult;
    ///
    /// fn first<T>(last: &AsyncResult<T>) -> Option<String> {
    ///     let mut parent = last.parent()?;
    ///     while let Some(before) = parent.parent() {
    ///         parent = before;
    ///     }
    ///     Some(parent.id().to_string())
    /// }
    /// ```
    pub fn parent(&self) -> Option<AnyResult> {
        let parent = self.tree.as_ref()?.parent()?;
        Some(AnyResult::of_tree(parent, &self.app))
    }

    /// What the task has sent while it ran, once it has ended.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn children(&self) -> Result<Vec<AnyResult>, ResultError> {
        let record = self.record().await?;
        let children = record.as_ref().and_then(|record| record.children.as_list()).unwrap_or_default();
        Ok(children.iter().filter_map(|child| AnyResult::from_tuple(child, &self.app)).collect())
    }

    /// What led to it, in the form from which Celery's `result_from_tuple` makes a result: `[[id, parent], null]`.
    ///
    /// Source: `celery/result.py`, `AsyncResult.as_tuple`, Celery 5.7.0.
    pub fn as_tuple(&self) -> Value {
        let alone =
            || Value::List(vec![Value::List(vec![self.id.as_str().into(), Value::Null]), Value::Null]);
        self.tree.as_ref().map_or_else(alone, ResultTree::as_tuple)
    }

    /// The id of the call.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Whether this program has sent the call with `ignore_result`, so that there will be nothing to wait for.
    pub fn is_ignored(&self) -> bool {
        self.is_ignored
    }

    /// The state of the task: [`State::Pending`] if nothing is known of it.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn state(&self) -> Result<State, ResultError> {
        Ok(self.record().await?.map_or(State::Pending, |record| record.state))
    }

    /// Whether the task has ended.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn is_ready(&self) -> Result<bool, ResultError> {
        Ok(self.state().await?.is_ready())
    }

    /// What the task last said of itself with `update_state`: a state such as `PROGRESS`, and what describes it.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn progress(&self) -> Result<Option<(Box<str>, Value)>, ResultError> {
        Ok(self.record().await?.and_then(|record| match record.state {
            State::Custom(name) => Some((name, record.result)),
            _ => None,
        }))
    }

    /// The stored record, if there is one.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn record(&self) -> Result<Option<ResultRecord>, ResultError> {
        let records = self.app.store().await?.results().get(std::slice::from_ref(&self.id)).await;
        Ok(records.map_err(|source| self.store_error(source))?.pop().flatten())
    }

    /// Waits until the task has ended and returns its record.
    ///
    /// # Errors
    /// [`ResultError::Timeout`] after `timeout`, or why the store could not be asked. At once [`ResultError::Ignored`] if
    /// this program has sent the call with `ignore_result`; Celery returns `None` then. A failure may be stored all the
    /// same, which [`AsyncResult::record`] reads.
    pub async fn wait(&self, timeout: Duration) -> Result<ResultRecord, ResultError> {
        if self.is_ignored {
            return Err(ResultError::Ignored { id: self.id.clone() });
        }
        let late = || ResultError::Timeout { id: self.id.clone(), after: timeout };
        let store = self.app.store().await?;
        let waiting = store.results().wait(std::slice::from_ref(&self.id));
        let records = tokio::time::timeout(timeout, waiting).await.map_err(|_| late())?;
        records.map_err(|source| self.store_error(source))?.pop().ok_or_else(late)
    }

    /// Removes the stored result.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn forget(&self) -> Result<(), ResultError> {
        let forgotten = self.app.store().await?.results().forget(std::slice::from_ref(&self.id)).await;
        forgotten.map_err(|source| self.store_error(source))
    }

    /// Makes sure that the task does not start; with `terminate`, also stops it if it runs.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn revoke(&self, terminate: bool) -> Result<(), ResultError> {
        self.app.revoke(std::slice::from_ref(&self.id), terminate).await.map(drop)
    }

    /// As [`AsyncResult::revoke`], for programs without a runtime.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub fn revoke_blocking(&self, terminate: bool) -> Result<(), ResultError> {
        let this = self.untyped();
        self.app.client().block_on(async move { this.revoke(terminate).await })
    }

    /// As [`AsyncResult::record`], for programs without a runtime.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub fn record_blocking(&self) -> Result<Option<ResultRecord>, ResultError> {
        let this = self.untyped();
        self.app.client().block_on(async move { this.record().await })
    }

    fn untyped(&self) -> AsyncResult {
        let Self { id, app, is_ignored, tree, .. } = self.clone();
        AsyncResult { id, app, is_ignored, tree, result: PhantomData }
    }

    fn store_error(&self, source: celeriac_store::Error) -> ResultError {
        ResultError::Store { id: self.id.clone(), source }
    }
}

impl<T: DeserializeOwned> AsyncResult<T> {
    /// Waits until the task has ended and returns its value. Nothing is polled.
    ///
    /// # Errors
    /// [`ResultError::Timeout`] after `timeout`; how the task failed; why the store could not be asked; or at once
    /// [`ResultError::Ignored`].
    pub async fn get(&self, timeout: Duration) -> Result<T, ResultError> {
        self.value(self.wait(timeout).await?)
    }

    /// As [`AsyncResult::get`], for programs without a runtime.
    ///
    /// # Errors
    /// As [`AsyncResult::get`].
    pub fn get_blocking(&self, timeout: Duration) -> Result<T, ResultError> {
        let this = self.untyped();
        let record = self.app.client().block_on(async move { this.wait(timeout).await })?;
        self.value(record)
    }

    pub(crate) fn value(&self, record: ResultRecord) -> Result<T, ResultError> {
        let id = self.id.clone();
        match record.state {
            State::Success => record.result.deserialize_into().map_err(|source| ResultError::Type {
                id,
                expected: std::any::type_name::<T>(),
                source,
            }),
            State::Revoked => {
                let reason =
                    record.exception().map_or_else(|| "revoked".to_owned(), |exception| exception.message());
                Err(ResultError::Revoked { id, reason })
            }
            _ => {
                let exception = record.exception().unwrap_or_else(|| TaskException::new("Exception", ""));
                Err(ResultError::Failed {
                    id,
                    message: exception.message(),
                    exc_type: exception.exc_type,
                    traceback: record.traceback,
                })
            }
        }
    }
}

impl<T> Clone for AsyncResult<T> {
    fn clone(&self) -> Self {
        let Self { id, app, is_ignored, tree, .. } = self;
        let (id, app, tree) = (id.clone(), app.clone(), tree.clone());
        Self { id, app, is_ignored: *is_ignored, tree, result: PhantomData }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncResult({})", self.id)
    }
}

impl App {
    /// What became of the call with this id.
    ///
    /// ```
    /// # use celeriac_app::App;
    /// let result = App::new("urls").result::<i64>("0198c2f0-4c1e-7a57-9d06-6ab3a1f4ad10");
    /// ```
    pub fn result<T>(&self, id: impl Into<TaskId>) -> AsyncResult<T> {
        AsyncResult::new(id.into(), self.clone())
    }

    /// Makes sure that these calls do not start; with `terminate`, also stops those that run.
    ///
    /// What still waits leaves its queue at once where the store can do that, and its result says so: returns which tasks
    /// these are. For the others the revocation is remembered.
    ///
    /// # Errors
    /// Why the store could not be asked. What was done before the error stays done, and the call may be repeated.
    pub async fn revoke(&self, ids: &[TaskId], terminate: bool) -> Result<Vec<TaskId>, ResultError> {
        let Some(first) = ids.first() else { return Ok(Vec::new()) };
        let fail = |source| ResultError::Store { id: first.clone(), source };
        let store = self.store().await?;
        let expires_after = self.config().task_revoke_expires;
        let revocations =
            ids.iter().map(|id| Revocation { task_id: id.clone(), terminate, expires_after }).collect();
        let removed = store.revocations().revoke(revocations).await.map_err(fail)?;
        if removed.is_empty() {
            return Ok(removed);
        }
        // Some may have been removed, and their results stored, by a call before this one.
        let known = store.results().get(&removed).await.map_err(fail)?;
        let has_ended = |record: &Option<ResultRecord>| record.as_ref().is_some_and(|it| it.state.is_ready());
        let (now, expires_after) = (self.client().now(), self.config().result_lifetime());
        let untold = removed.iter().zip(&known).filter(|(_, record)| !has_ended(record));
        let results = untold.map(|(id, _)| StoreResult::new(revoked_record(id.clone(), now), expires_after));
        store.results().store(results.collect()).await.map_err(fail)?;
        Ok(removed)
    }
}

/// Source: `celery/backends/base.py`, `Backend.mark_as_revoked`, Celery 5.7.0.
fn revoked_record(id: TaskId, now: celeriac_protocol::Timestamp) -> ResultRecord {
    let mut exception = TaskException::new("TaskRevokedError", "revoked");
    exception.exc_module = Some("celery.exceptions".into());
    ResultRecord::new(id, State::Revoked, exception.into_value(), Some(now))
}
