//! What became of a group.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::{GroupId, ResultRecord, State, TaskId, Value};
use celeriac_store::SavedGroup;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::canvas::{ResultNode, ResultTree};
use crate::{App, AsyncResult, ResultError};

/// What became of a task or of a group, for those that may be either: parents and children.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyResult<T = Value> {
    /// Of a task.
    Task(AsyncResult<T>),
    /// Of a group.
    Group(GroupResult<T>),
}

/// A group that was sent, and what became of its members. Cheap to clone; holds no connection of its own.
///
/// A group within the group counts by its members.
///
/// ```
/// # use std::time::Duration;
/// # use celeriac_app::{App, Signature, args, kwargs};
/// # use celeriac_app::canvas::group;
/// # async fn example(app: App) -> Result<(), Box<dyn std::error::Error>> {
/// let squares = group((1..=3).map(|n| Signature::<i64>::named("proj.square", args![n], kwargs! {})));
/// let squares = squares.apply_async(&app).await?;
/// assert_eq!(squares.join(Duration::from_secs(10)).await?, [1, 4, 9]);
/// # Ok(())
/// # }
/// ```
pub struct GroupResult<T = Value> {
    id: GroupId,
    members: Arc<[TaskId]>,
    /// What ran before it, as a result tuple, and what it is made of.
    tuple: Arc<Tuple>,
    app: App,
    result: PhantomData<fn() -> T>,
}

enum Tuple {
    Tree(ResultTree),
    Value(Value),
}

impl<T> AnyResult<T> {
    pub(crate) fn of_tree(tree: ResultTree, app: &App) -> Self {
        match tree.node() {
            ResultNode::Task => Self::Task(AsyncResult::of_tree(tree, app.clone())),
            ResultNode::Group => Self::Group(GroupResult::of_tree(&tree, app.clone())),
        }
    }

    /// A result from Celery's tuple.
    ///
    /// Source: `celery/result.py`, `result_from_tuple`, Celery 5.7.0.
    pub(crate) fn from_tuple(tuple: &Value, app: &App) -> Option<Self> {
        let [head, members] = tuple.as_list()? else { return None };
        let id = head.as_list().and_then(|head| head.first()).unwrap_or(head).as_str()?;
        Some(match members {
            Value::List(_) => Self::Group(GroupResult::from_tuple(id, tuple.clone(), app.clone())),
            _ => Self::Task(AsyncResult::new(TaskId::new(id), app.clone())),
        })
    }

    /// The id of the task or of the group.
    pub fn id(&self) -> &str {
        match self {
            Self::Task(task) => task.id().as_str(),
            Self::Group(group) => group.id().as_str(),
        }
    }

    /// What ran before it.
    pub fn parent(&self) -> Option<AnyResult> {
        match self {
            Self::Task(task) => task.parent(),
            Self::Group(group) => group.parent(),
        }
    }
}

/// The tasks in a result tuple, those of groups within it too, in order.
fn members(tuple: &Value, found: &mut Vec<TaskId>) {
    let Some([head, inner]) = tuple.as_list() else { return };
    match inner {
        Value::List(inner) => inner.iter().for_each(|inner| members(inner, found)),
        _ => {
            let id = head.as_list().and_then(|head| head.first()).unwrap_or(head);
            found.extend(id.as_str().map(TaskId::new));
        }
    }
}

fn tree_members(tree: &ResultTree, found: &mut Vec<TaskId>) {
    match tree.node() {
        ResultNode::Task => found.push(tree.id().clone()),
        ResultNode::Group => tree.members().for_each(|member| tree_members(&member, found)),
    }
}

/// The end of a time to wait, however long that is.
fn after(timeout: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    Instant::now() + timeout.min(LONGEST)
}

/// Of how many members is asked at once while their results are joined.
const WINDOW: usize = 1000;

impl<T> GroupResult<T> {
    pub(crate) fn of_tree(tree: &ResultTree, app: App) -> Self {
        let mut members = Vec::new();
        tree_members(tree, &mut members);
        let id = GroupId::new(tree.id().as_str());
        let tuple = Arc::new(Tuple::Tree(tree.clone()));
        Self { id, members: members.into(), tuple, app, result: PhantomData }
    }

    fn from_tuple(id: &str, tuple: Value, app: App) -> Self {
        let mut found = Vec::new();
        members(&tuple, &mut found);
        let tuple = Arc::new(Tuple::Value(tuple));
        Self { id: GroupId::new(id), members: found.into(), tuple, app, result: PhantomData }
    }

    /// The id of the group.
    pub fn id(&self) -> &GroupId {
        &self.id
    }

    /// How many tasks it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Its members, in order.
    pub fn results(&self) -> impl Iterator<Item = AsyncResult<T>> + '_ {
        self.members.iter().map(|id| AsyncResult::new(id.clone(), self.app.clone()))
    }

    /// What ran before the group: the step of the chain. Known to the program that has sent it.
    pub fn parent(&self) -> Option<AnyResult> {
        match &*self.tuple {
            Tuple::Tree(tree) => Some(AnyResult::of_tree(tree.parent()?, &self.app)),
            Tuple::Value(tuple) => {
                let [_, parent] = tuple.as_list()?.first()?.as_list()? else { return None };
                AnyResult::from_tuple(parent, &self.app)
            }
        }
    }

    /// Its members and what led to it, in the form from which Celery's `result_from_tuple` makes a result:
    /// `[[id, parent], [member, ...]]`.
    ///
    /// Source: `celery/result.py`, `GroupResult.as_tuple`, Celery 5.7.0.
    pub fn as_tuple(&self) -> Value {
        match &*self.tuple {
            Tuple::Tree(tree) => tree.as_tuple(),
            Tuple::Value(tuple) => tuple.clone(),
        }
    }

    /// Remembers what the group is made of, for [`App::restore_group`] and for Celery's `GroupResult.restore`.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn save(&self) -> Result<(), ResultError> {
        let result = self.as_tuple();
        let expires_after = self.app.config().result_lifetime();
        let saved = SavedGroup { id: self.id.clone(), result, expires_after };
        self.app.store().await?.groups().save(vec![saved]).await.map_err(|source| self.store_error(source))
    }

    /// Forgets what the group is made of; its results stay.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn delete(&self) -> Result<(), ResultError> {
        let forgotten = self.app.store().await?.groups().forget(std::slice::from_ref(&self.id)).await;
        forgotten.map_err(|source| self.store_error(source))
    }

    /// How many members have succeeded.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn completed_count(&self) -> Result<usize, ResultError> {
        self.count(|state| *state == State::Success).await
    }

    /// Whether all members have ended.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn is_ready(&self) -> Result<bool, ResultError> {
        Ok(self.count(State::is_ready).await? == self.len())
    }

    /// Whether all members have succeeded.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn is_successful(&self) -> Result<bool, ResultError> {
        Ok(self.completed_count().await? == self.len())
    }

    /// Whether a member has failed or was revoked.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn has_failed(&self) -> Result<bool, ResultError> {
        Ok(self.count(|state| matches!(state, State::Failure | State::Revoked)).await? > 0)
    }

    async fn count(&self, counts: impl Fn(&State) -> bool) -> Result<usize, ResultError> {
        let results = self.app.store().await?.results();
        let mut count = 0;
        for window in self.members.chunks(WINDOW) {
            let records = results.get(window).await.map_err(|source| self.store_error(source))?;
            count += records.iter().flatten().filter(|record| counts(&record.state)).count();
        }
        Ok(count)
    }

    /// Makes sure that no member starts; with `terminate`, also stops those that run.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn revoke(&self, terminate: bool) -> Result<(), ResultError> {
        self.app.revoke(&self.members, terminate).await.map(drop)
    }

    /// Removes the results of all members.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn forget(&self) -> Result<(), ResultError> {
        let results = self.app.store().await?.results();
        for window in self.members.chunks(WINDOW) {
            results.forget(window).await.map_err(|source| self.store_error(source))?;
        }
        Ok(())
    }

    /// The results of the members as they end, until `timeout` from now.
    pub fn iter(&self, timeout: Duration) -> GroupResults<T> {
        let places = self.members.iter().cloned().enumerate().map(|(place, id)| (id, place));
        GroupResults {
            group: self.clone(),
            left: places.collect(),
            ended: Vec::new(),
            deadline: after(timeout),
            timeout,
        }
    }

    /// Waits until all members have ended, or `stop` says that this record is enough. In the order of the members.
    async fn records(
        &self,
        timeout: Duration,
        stop: impl Fn(&ResultRecord) -> bool,
    ) -> Result<Vec<ResultRecord>, ResultError> {
        let deadline = after(timeout);
        let mut records = Vec::with_capacity(self.len());
        for window in self.members.chunks(WINDOW) {
            let mut ended = HashMap::with_capacity(window.len());
            while ended.len() < window.len() {
                let left: Vec<_> = window.iter().filter(|id| !ended.contains_key(*id)).cloned().collect();
                for record in self.wait(&left, deadline, timeout).await? {
                    if stop(&record) {
                        return Ok(vec![record]);
                    }
                    ended.insert(record.task_id.clone(), record);
                }
            }
            records.extend(window.iter().filter_map(|id| ended.remove(id)));
        }
        Ok(records)
    }

    async fn wait(
        &self,
        left: &[TaskId],
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Vec<ResultRecord>, ResultError> {
        let first = left.first().cloned().unwrap_or_else(|| TaskId::new(self.id.as_str()));
        let waiting = self.app.store().await?.results().wait(left);
        match tokio::time::timeout_at(deadline, waiting).await {
            Ok(records) => records.map_err(|source| ResultError::Store { id: first, source }),
            Err(_) => Err(ResultError::Timeout { id: first, after: timeout }),
        }
    }

    fn store_error(&self, source: celeriac_store::Error) -> ResultError {
        ResultError::Store { id: TaskId::new(self.id.as_str()), source }
    }

    fn untyped(&self) -> GroupResult {
        let Self { id, members, tuple, app, .. } = self.clone();
        GroupResult { id, members, tuple, app, result: PhantomData }
    }
}

impl<T: DeserializeOwned> GroupResult<T> {
    /// Waits until all members have ended and returns their values in order: Celery's `join` with `propagate`.
    ///
    /// # Errors
    /// How a member failed, as soon as one has; [`ResultError::Timeout`] after `timeout`; or why the store could not be
    /// asked.
    pub async fn join(&self, timeout: Duration) -> Result<Vec<T>, ResultError> {
        let records = self.records(timeout, |record| record.state != State::Success).await?;
        records.into_iter().map(|record| self.value(record)).collect()
    }

    /// Waits until all members have ended and tells of each what became of it: Celery's `join` without `propagate`.
    ///
    /// # Errors
    /// [`ResultError::Timeout`] after `timeout`, or why the store could not be asked.
    pub async fn join_all(&self, timeout: Duration) -> Result<Vec<Result<T, ResultError>>, ResultError> {
        let records = self.records(timeout, |_| false).await?;
        Ok(records.into_iter().map(|record| self.value(record)).collect())
    }

    /// As [`GroupResult::join`], for programs without a runtime.
    ///
    /// # Errors
    /// As [`GroupResult::join`].
    pub fn join_blocking(&self, timeout: Duration) -> Result<Vec<T>, ResultError> {
        let this = self.untyped();
        let stop = |record: &ResultRecord| record.state != State::Success;
        let records = self.app.client().block_on(async move { this.records(timeout, stop).await })?;
        records.into_iter().map(|record| self.value(record)).collect()
    }

    fn value(&self, record: ResultRecord) -> Result<T, ResultError> {
        AsyncResult::new(record.task_id.clone(), self.app.clone()).value(record)
    }
}

/// The results of a group as they come: what [`GroupResult::iter`] makes.
pub struct GroupResults<T> {
    group: GroupResult<T>,
    /// The places of those that have not ended.
    left: HashMap<TaskId, usize>,
    /// What has ended and was not told yet.
    ended: Vec<(usize, ResultRecord)>,
    deadline: Instant,
    timeout: Duration,
}

impl<T: DeserializeOwned> GroupResults<T> {
    /// The next member that has ended: its place in the group and what became of it. None when all have been told.
    ///
    /// # Errors
    /// [`ResultError::Timeout`] when the time is over, or why the store could not be asked.
    pub async fn next(&mut self) -> Result<Option<(usize, Result<T, ResultError>)>, ResultError> {
        while self.ended.is_empty() && !self.left.is_empty() {
            let left: Vec<_> = self.left.keys().cloned().collect();
            for record in self.group.wait(&left, self.deadline, self.timeout).await? {
                if let Some(place) = self.left.remove(&record.task_id) {
                    self.ended.push((place, record));
                }
            }
        }
        let next = self.ended.pop();
        Ok(next.map(|(place, record)| (place, self.group.value(record))))
    }
}

impl<T> Clone for GroupResult<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            members: Arc::clone(&self.members),
            tuple: Arc::clone(&self.tuple),
            app: self.app.clone(),
            result: PhantomData,
        }
    }
}

impl<T> fmt::Debug for GroupResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupResult({} with {} tasks)", self.id, self.len())
    }
}

impl App {
    /// What became of a group whose result was saved, by this program or by another, in Rust or Python. None if nothing was
    /// saved, or it has expired.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub async fn restore_group<T>(
        &self,
        id: impl Into<GroupId>,
    ) -> Result<Option<GroupResult<T>>, ResultError> {
        let id = id.into();
        let fail = |source| ResultError::Store { id: TaskId::new(id.as_str()), source };
        let restored = self.store().await?.groups().restore(std::slice::from_ref(&id)).await.map_err(fail)?;
        let tuple = restored.into_iter().next().flatten();
        Ok(tuple.map(|tuple| GroupResult::from_tuple(id.as_str(), tuple, self.clone())))
    }
}
