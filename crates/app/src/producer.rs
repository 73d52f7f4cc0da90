//! Sending calls of tasks.

use std::time::Duration;

use celeriac_protocol::{EncodeError, TaskId, TaskName, Value};
use celeriac_store::{Publication, Publish};

use crate::canvas::Composed;
use crate::composer::Composer;
use crate::signals::{self, Published};
use crate::trace::Origin;
use crate::{App, AsyncResult, Context, Signature};

/// Who sends a task: a program, or a task that is running.
pub trait Sender {
    /// The program.
    fn app(&self) -> &App;

    /// The running task, which becomes the parent of what it sends.
    fn parent(&self) -> Option<&Context>;
}

impl Sender for App {
    fn app(&self) -> &App {
        self
    }

    fn parent(&self) -> Option<&Context> {
        None
    }
}

impl Sender for Context {
    fn app(&self) -> &App {
        Context::app(self)
    }

    fn parent(&self) -> Option<&Context> {
        Some(self)
    }
}

/// Why a task was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// An argument or a result cannot be written.
    #[error("task {task} cannot be sent")]
    Encode {
        /// The task.
        task: TaskName,
        /// What cannot be written.
        source: EncodeError,
    },

    /// An option of the call makes no sense.
    #[error("task {task} cannot be sent: {reason}")]
    Option {
        /// The task.
        task: TaskName,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// The store did not take the task.
    #[error("store {url} did not take the task{}", tries(.after, *.attempts, .source))]
    Store {
        /// The store, without its password.
        url: String,
        /// How long was tried.
        after: Duration,
        /// How often was tried.
        attempts: u32,
        /// What the last attempt said.
        source: celeriac_store::Error,
    },

    /// Of many calls, which are sent in batches, only the first batches were sent.
    #[error("only the first {} of {all} tasks were sent for certain", sent.len())]
    Partly {
        /// The calls that were sent, in order.
        sent: Vec<TaskId>,
        /// The calls of the batch that failed: none of them was sent, unless `source` says that nobody knows.
        /// Those after them were not sent.
        failed: Vec<TaskId>,
        /// How many were to be sent.
        all: usize,
        /// Why the batch failed.
        source: Box<SendError>,
    },
}

/// How long and how often was tried; nothing where the store has answered and refused.
fn tries(after: &Duration, attempts: u32, source: &celeriac_store::Error) -> String {
    use celeriac_store::Error::{Timeout, Unreachable};
    match (attempts, source) {
        (1, Timeout { .. } | Unreachable { .. }) => format!(" within {after:.1?} (1 attempt)"),
        (0 | 1, _) => String::new(),
        _ => format!(" within {after:.1?} ({attempts} attempts)"),
    }
}

/// The most calls that are published at once: more would hold up everybody else who writes for too long.
pub(crate) const BATCH: usize = 10_000;

/// What is sent at once, and what becomes of it.
struct Outbox<T> {
    results: Vec<AsyncResult<T>>,
    publication: Publication,
    /// What becomes a child of the task that sends it.
    children: Vec<Value>,
}

/// A task remembers what it sends: its result names them as its children.
///
/// Source: `celery/app/base.py`, `Celery.send_task`, Celery 5.7.0.
fn remember(parent: Option<&Context>, children: impl IntoIterator<Item = Value>) {
    if let Some(parent) = parent {
        parent.trail().sent(children);
    }
}

impl App {
    /// Sends a call, with no task as its parent.
    ///
    /// # Errors
    /// What could not be encoded, or why the store did not take it within `task_publish_timeout`.
    pub async fn send<T>(&self, signature: Signature<T>) -> Result<AsyncResult<T>, SendError> {
        self.send_from(None, signature).await
    }

    /// Sends any number of calls, in order: 10,000 in one round trip, each within `task_publish_timeout`. Where one server
    /// holds all their queues, workers see all of such a batch or none.
    ///
    /// ```
    /// # use celeriac_app::{App, Signature, args, kwargs};
    /// # async fn example(app: App) -> Result<(), Box<dyn std::error::Error>> {
    /// let calls = (0..1000).map(|n| Signature::<i64>::named("proj.square", args![n], kwargs! {}));
    /// let results = app.send_many(calls).await?;
    /// assert_eq!(results.len(), 1000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`App::send`]; then none of them was sent, unless the error says that nobody knows. Of more than 10,000 calls,
    /// the first batches may have been sent before one fails: then it is [`SendError::Partly`], which names them.
    pub async fn send_many<T>(
        &self,
        signatures: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Vec<AsyncResult<T>>, SendError> {
        self.send_many_from(None, signatures).await
    }

    /// Sends a call of a task by its name, registered here or not.
    ///
    /// ```
    /// # use celeriac_app::{App, args, kwargs};
    /// # async fn example(app: App) -> Result<(), Box<dyn std::error::Error>> {
    /// let sum = app.send_task::<i64>("proj.add", args![1], kwargs! { y: 2 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`App::send`].
    pub async fn send_task<T>(
        &self,
        task: impl Into<TaskName>,
        args: Vec<Result<Value, EncodeError>>,
        kwargs: Vec<(Box<str>, Result<Value, EncodeError>)>,
    ) -> Result<AsyncResult<T>, SendError> {
        self.send(Signature::named(task, args, kwargs)).await
    }

    pub(crate) async fn send_from<T>(
        &self,
        parent: Option<&Context>,
        signature: Signature<T>,
    ) -> Result<AsyncResult<T>, SendError> {
        if signature.composed.is_some() {
            let tree = self.send_composed(parent, Composed::of(signature)).await?;
            return Ok(AsyncResult::of_tree(tree, self.clone()));
        }
        let composer = Composer::new(self, parent.map(Into::into));
        let (id, publish) = composer.compose(signature)?;
        let result = AsyncResult::of(id, &publish, self.clone());
        self.publish(vec![publish].into(), self.origin(parent)).await?;
        remember(parent, [result.as_tuple()]);
        Ok(result)
    }

    pub(crate) async fn send_many_from<T>(
        &self,
        parent: Option<&Context>,
        signatures: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Vec<AsyncResult<T>>, SendError> {
        let outbox = self.compose_all(parent, signatures)?;
        self.publish_all(outbox.publication, self.origin(parent)).await?;
        remember(parent, outbox.children);
        Ok(outbox.results)
    }

    pub(crate) fn send_blocking_from<T>(
        &self,
        parent: Option<&Context>,
        signature: Signature<T>,
    ) -> Result<AsyncResult<T>, SendError> {
        if signature.composed.is_some() {
            let tree = self.send_composed_blocking(parent, Composed::of(signature))?;
            return Ok(AsyncResult::of_tree(tree, self.clone()));
        }
        let (id, publish) = Composer::new(self, parent.map(Into::into)).compose(signature)?;
        let (app, result) = (self.clone(), AsyncResult::of(id, &publish, self.clone()));
        let origin = self.origin(parent);
        self.client().block_on(async move { app.publish(vec![publish].into(), origin).await })?;
        remember(parent, [result.as_tuple()]);
        Ok(result)
    }

    /// As [`App::send_many`], for programs and tasks without a runtime.
    ///
    /// # Errors
    /// As [`App::send_many`].
    pub fn send_many_blocking<T>(
        &self,
        signatures: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Vec<AsyncResult<T>>, SendError> {
        let Outbox { results, publication, .. } = self.compose_all(None, signatures)?;
        if !publication.messages.is_empty() {
            let (app, origin) = (self.clone(), self.origin(None));
            self.client().block_on(async move { app.publish_all(publication, origin).await })?;
        }
        Ok(results)
    }

    /// The message that sending a call of one task would publish, for those who publish themselves. [`App::unfold`] does
    /// that for compositions.
    ///
    /// # Errors
    /// What could not be encoded, or that the call is a composition.
    pub fn compose<T>(
        &self,
        parent: Option<&Context>,
        signature: Signature<T>,
    ) -> Result<(TaskId, Publish), SendError> {
        Composer::new(self, parent.map(Into::into)).compose(signature)
    }

    /// The messages of any number of calls, and what will become of them.
    fn compose_all<T>(
        &self,
        parent: Option<&Context>,
        signatures: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Outbox<T>, SendError> {
        let composer = Composer::new(self, parent.map(Into::into));
        let signatures = signatures.into_iter();
        let expected = signatures.size_hint().0;
        let publication = Publication { messages: Vec::with_capacity(expected), ..Publication::default() };
        let mut outbox = Outbox { results: Vec::with_capacity(expected), publication, children: Vec::new() };
        let all = &mut outbox.publication;
        for signature in signatures {
            if signature.composed.is_some() {
                let (tree, unfolded) = self.unfold_composed(parent, Composed::of(signature))?;
                outbox.results.push(AsyncResult::of_tree(tree, self.clone()));
                outbox.children.extend(unfolded.children);
                all.messages.extend(unfolded.publication.messages);
                all.chords.extend(unfolded.publication.chords);
                all.groups.extend(unfolded.publication.groups);
                continue;
            }
            let (id, publish) = composer.compose(signature)?;
            let result = AsyncResult::of(id, &publish, self.clone());
            outbox.children.extend(parent.map(|_| result.as_tuple()));
            outbox.results.push(result);
            all.messages.push(publish);
        }
        Ok(outbox)
    }

    /// Publishes what a running task has unfolded.
    ///
    /// # Errors
    /// Why the store did not take it within `task_publish_timeout`.
    pub async fn publish_from(&self, task: &Context, publication: Publication) -> Result<(), SendError> {
        self.publish(publication, self.origin(Some(task))).await
    }

    /// As [`App::publish_from`], for tasks without a runtime.
    ///
    /// # Errors
    /// As [`App::publish_from`].
    pub fn publish_from_blocking(&self, task: &Context, publication: Publication) -> Result<(), SendError> {
        let (app, origin) = (self.clone(), self.origin(Some(task)));
        self.client().block_on(async move { app.publish(publication, origin).await })
    }

    /// Publishes any number of messages, batch by batch.
    async fn publish_all(&self, publication: Publication, origin: Option<Origin>) -> Result<(), SendError> {
        let all = publication.messages.len();
        if all <= BATCH {
            return if all == 0 { Ok(()) } else { self.publish(publication, origin).await };
        }
        // Chords begin and groups are saved with the first batch.
        let Publication { messages, mut chords, mut groups, .. } = publication;
        let id = |publish: &Publish| publish.message.headers.id.clone();
        // A handler of `before_task_publish` may have taken the id of one away; it is sent all the same.
        let ids: Vec<Option<TaskId>> = messages.iter().map(id).collect();
        let named = |ids: &[Option<TaskId>]| ids.iter().flatten().cloned().collect::<Vec<_>>();
        let mut messages = messages.into_iter();
        for (number, batch) in ids.chunks(BATCH).enumerate() {
            let batch_of = Publication {
                messages: messages.by_ref().take(batch.len()).collect(),
                chords: std::mem::take(&mut chords),
                groups: std::mem::take(&mut groups),
                ..Publication::default()
            };
            if let Err(source) = self.publish(batch_of, origin.clone()).await {
                return Err(match number {
                    0 => source,
                    _ => {
                        let (sent, failed) = (named(&ids[..number * BATCH]), named(batch));
                        SendError::Partly { sent, failed, all, source: Box::new(source) }
                    }
                });
            }
        }
        Ok(())
    }

    /// Publishes within `task_publish_timeout`, connecting included; with a span for each message, if there is an origin.
    pub(crate) async fn publish(
        &self,
        mut publication: Publication,
        origin: Option<Origin>,
    ) -> Result<(), SendError> {
        let Some((tracer, origin)) = self.tracer().zip(origin) else {
            return self.publish_untraced(publication).await;
        };
        let clock = self.client().clock();
        let sending = tracer.sending(&mut publication.messages, &origin, clock.now());
        let published = self.publish_untraced(publication).await;
        match &published {
            Ok(()) => sending.sent(clock.now()),
            Err(error) => sending.failed(error, clock.now()),
        }
        published
    }

    /// From where something is sent now; nothing while nothing is traced. To be asked on the thread of the caller.
    pub(crate) fn origin(&self, parent: Option<&Context>) -> Option<Origin> {
        self.tracer()?;
        let current = crate::trace::current();
        let Some(parent) = parent else { return Some(Origin::span(current)) };
        let mut origin = Origin::task(parent.span(), parent.headers());
        let is_within =
            |span: &crate::trace::SpanContext| Some(span.trace_id) == origin.span.map(|run| run.trace_id);
        if let Some(within) = current.filter(is_within) {
            origin.span = Some(within);
        }
        Some(origin)
    }

    async fn publish_untraced(&self, publication: Publication) -> Result<(), SendError> {
        let deadline = self.config().task_publish_timeout;
        let started = tokio::time::Instant::now();
        let store = self.store_within(deadline).await?;
        let announced = self.announcements(&publication.messages);
        let fail = |source| SendError::Store {
            url: store.url().to_owned(),
            after: started.elapsed(),
            attempts: 1,
            source,
        };
        // Not tried again after an error: nobody knows whether the messages arrived, and twice is worse than an error.
        let left = deadline.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, store.publish(publication)).await {
            Ok(published) => published.map_err(fail)?,
            Err(_) => {
                let url = store.url().to_owned();
                return Err(fail(celeriac_store::Error::Timeout {
                    operation: "publish",
                    url,
                    after: deadline,
                }));
            }
        }
        for published in announced {
            self.signals().send(signals::after_task_publish, || published);
        }
        Ok(())
    }

    /// Tells the handlers of `after_task_publish` of messages that were published by other ways than the methods of
    /// this program: a worker publishes what follows a task in the step in which the task ends.
    pub fn announce_published<'a>(&self, messages: impl IntoIterator<Item = &'a Publish>) {
        if self.signals().is_connected(signals::after_task_publish) {
            for published in messages.into_iter().filter_map(announcement) {
                self.signals().send(signals::after_task_publish, || published);
            }
        }
    }

    fn announcements(&self, messages: &[Publish]) -> Vec<Published> {
        if !self.signals().is_connected(signals::after_task_publish) {
            return Vec::new();
        }
        messages.iter().filter_map(announcement).collect()
    }
}

/// What handlers of `after_task_publish` are told of a message.
fn announcement(publish: &Publish) -> Option<Published> {
    let headers = &publish.message.headers;
    let (id, name) = (headers.id.clone()?, headers.task.clone()?);
    Some(Published { id, name, queue: publish.route.queue().clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_not_said_to_have_taken_too_long() {
        let said = |attempts, source| {
            let (url, after) = ("sqlite:///a.db".to_owned(), Duration::from_micros(29_940));
            SendError::Store { url, after, attempts, source }.to_string()
        };
        let full = || celeriac_store::Error::Full { url: "sqlite:///a.db".to_owned() };
        let gone = || celeriac_store::Error::Unreachable { url: String::new(), reason: String::new() };
        assert_eq!(said(1, full()), "store sqlite:///a.db did not take the task");
        assert_eq!(said(1, gone()), "store sqlite:///a.db did not take the task within 29.9ms (1 attempt)");
        assert_eq!(said(3, full()), "store sqlite:///a.db did not take the task within 29.9ms (3 attempts)");
    }
}
