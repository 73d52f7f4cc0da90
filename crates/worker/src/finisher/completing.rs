//! The second step of the last success of a chord: what its members returned is read, and its body composed.

use std::collections::HashMap;
use std::time::Duration;

use celeriac_protocol::{GroupId, TaskId, Value};
use celeriac_store::clock::Clock;
use celeriac_store::{Consequences, Error, Reported, Store};

use super::{ATTEMPTS, FIRST_PAUSE, Item, LAST_PAUSE};
use crate::workflow::{Ended, Joined, Workflow, close_with, reported};

/// Completes a chord, beside everything else that is made durable.
pub(super) struct Completing {
    pub(super) store: Store,
    pub(super) workflow: Workflow,
    pub(super) clock: Clock,
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
        let (mut pause, mut attempt) = (FIRST_PAUSE, 0);
        loop {
            attempt += 1;
            let error = match self.read(chord, last).await {
                Ok(Some((joined, others))) => {
                    return self.workflow.completed(ended, &joined, &others, self.clock.now());
                }
                // Closed meanwhile, by a failure.
                Ok(None) => return Consequences::default(),
                Err(error) => error,
            };
            if !error.is_transient() && attempt >= ATTEMPTS {
                let reason = format!("the results of its members cannot be read: {error}");
                return self.workflow.refused_body(ended, &reason, self.clock.now());
            }
            tracing::error!(%error, attempt, %chord, again_in = ?pause, "a chord is not complete yet");
            tokio::time::sleep(pause).await;
            pause = next_pause(pause);
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

fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(LAST_PAUSE)
}
