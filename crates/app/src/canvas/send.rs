//! Sending compositions, batch by batch.

use crate::canvas::{Apply, Composed, Group, GroupResult, ResultTree, Unfolded, Unfolding};
use crate::producer::{BATCH, SendError, Sender};
use crate::trace::Origin;
use crate::{App, Context};

impl App {
    /// What sending a composition publishes, all at once.
    pub(crate) fn unfold_composed(
        &self,
        parent: Option<&Context>,
        composed: Composed,
    ) -> Result<(ResultTree, Unfolded), SendError> {
        let unfolded = self.unfold_all(self.start(parent, composed)?)?;
        let result = unfolded.result.clone().ok_or_else(no_steps)?;
        Ok((result, unfolded))
    }

    fn start(&self, parent: Option<&Context>, composed: Composed) -> Result<Unfolding<'_>, SendError> {
        let task = composed.error.as_ref().map(|(task, _)| task.clone());
        let signature = composed
            .for_broker(self)
            .map_err(|source| SendError::Encode { task: task.unwrap_or_else(|| "".into()), source })?;
        Unfolding::start(self, signature, Apply { parent: parent.map(Into::into), ..Apply::default() })
    }

    /// Sends a composition: 10,000 messages in one round trip, chords beginning with the first of their members.
    pub(crate) async fn send_composed(
        &self,
        parent: Option<&Context>,
        composed: Composed,
    ) -> Result<ResultTree, SendError> {
        self.send_composed_from(parent, composed, self.origin(parent)).await
    }

    async fn send_composed_from(
        &self,
        parent: Option<&Context>,
        composed: Composed,
        origin: Option<Origin>,
    ) -> Result<ResultTree, SendError> {
        let mut unfolding = self.start(parent, composed)?;
        let result = unfolding.result().ok_or_else(no_steps)?;
        let mut sent = Vec::new();
        while let Some(batch) = unfolding.next_batch(BATCH)? {
            let ids: Vec<_> =
                batch.messages.iter().filter_map(|publish| publish.message.headers.id.clone()).collect();
            if let Err(source) = self.publish(batch, origin.clone()).await {
                if sent.is_empty() {
                    return Err(source);
                }
                let (all, source) = (sent.len() + ids.len() + unfolding.left(), Box::new(source));
                return Err(SendError::Partly { sent, failed: ids, all, source });
            }
            sent.extend(ids);
        }
        if let Some(parent) = parent {
            parent.trail().sent(unfolding.children());
        }
        Ok(result)
    }

    pub(crate) fn send_composed_blocking(
        &self,
        parent: Option<&Context>,
        composed: Composed,
    ) -> Result<ResultTree, SendError> {
        let (app, origin, parent) = (self.clone(), self.origin(parent), parent.cloned());
        self.client().block_on(async move { app.send_composed_from(parent.as_ref(), composed, origin).await })
    }
}

fn no_steps() -> SendError {
    SendError::Option { task: "celery.chain".into(), reason: "it has no steps".to_owned() }
}

impl<T, R> Group<T, R> {
    /// Sends it, from a program (`&App`) or from a running task (`&Context`).
    ///
    /// Once this returns, the store has all members. More than 10,000 are sent in several round trips.
    ///
    /// # Errors
    /// What could not be encoded, or why the store did not take them; [`SendError::Partly`] if it has taken the first of
    /// them.
    pub async fn apply_async(self, from: &impl Sender) -> Result<GroupResult<T>, SendError> {
        let tree = from.app().send_composed(from.parent(), self.composed).await?;
        Ok(GroupResult::of_tree(&tree, from.app().clone()))
    }

    /// As [`Group::apply_async`], for programs and tasks without a runtime.
    ///
    /// # Errors
    /// As [`Group::apply_async`].
    pub fn apply_blocking(self, from: &impl Sender) -> Result<GroupResult<T>, SendError> {
        let tree = from.app().send_composed_blocking(from.parent(), self.composed)?;
        Ok(GroupResult::of_tree(&tree, from.app().clone()))
    }
}
