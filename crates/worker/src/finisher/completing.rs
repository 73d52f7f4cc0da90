//! The second step of the last success of a chord: what its members returned is read, and its body composed.

use std::collections::HashMap;

use celeriac_protocol::{GroupId, TaskId, Value};
use celeriac_store::clock::Clock;
use celeriac_store::{Consequences, Error, Reported, Store};

use super::{ATTEMPTS, Item};
use crate::trouble::Trouble;
use crate::workflow::{Ended, Joined, Workflow, close_with, reported};

/// Completes a chord, beside everything else that is made durable.
pub(super) struct Completing {
    pub(super) store: Store,
    pub(super) workflow: Workflow,
    pub(super) clock: Clock,
    pub(super) trouble: Trouble,
}

impl Completing {
    /// The same outcome, with the body of the chord.
    pub(super) async fn complete(self, mut item: Item) -> Item {
        if let (Some(ended), Some(consequences)) = (&item.ended, &mut item.finish.workflow)
            && let Some((chord, last)) = reported(consequences)
        {
            let closing = self.closing(ended, &chord, &last).await;
            close_with(consequences, closing);
        }
        item
    }

    async fn closing(&self, ended: &Ended, chord: &GroupId, last: &Reported) -> Consequences {
        let mut asker = self.trouble.asker("a chord is not complete yet");
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.read(chord, last).await {
                Ok(Some((joined, others))) => {
                    asker.worked();
                    return self.workflow.completed(ended, &joined, &others, self.clock.now());
                }
                // Closed meanwhile, by a failure.
                Ok(None) => {
                    asker.worked();
                    return Consequences::default();
                }
                Err(error) => error,
            };
            if !error.is_transient() && attempt >= ATTEMPTS {
                let reason = format!("the results of its members cannot be read: {error}");
                return self.workflow.refused_body(ended, &reason, self.clock.now());
            }
            asker.pause(&error).await;
        }
    }

    /// What the members returned; nothing if the chord has been closed meanwhile.
    async fn read(
        &self,
        chord: &GroupId,
        last: &Reported,
    ) -> Result<Option<(Joined, HashMap<TaskId, Value>)>, Error> {
        let groups = self.store.groups();
        let Some(open) = groups.chord(chord).await? else { return Ok(None) };
        let saved = groups.restore(std::slice::from_ref(chord)).await?.pop().flatten();
        let joined = Joined::new(open, last.clone(), saved);
        let missing = joined.missing();
        let mut others = HashMap::new();
        if !missing.is_empty() {
            let records = self.store.results().get(&missing).await?.into_iter().flatten();
            others.extend(records.map(|record| (record.task_id, record.result)));
        }
        Ok(Some((joined, others)))
    }
}
