//! What remote control asks the loop.

use std::collections::HashMap;

use celeriac_protocol::Value;

use crate::consumer::Consumer;
use crate::control::{Held, Question};
use crate::pool::StopReason;
use crate::shutdown::Asked;

impl Consumer {
    pub(super) fn question(&mut self, question: Question) {
        match question {
            // Who asked may have lost patience.
            Question::Requests(answer) => drop(answer.send(self.held())),
            Question::Terminate(ids, signal, answer) => {
                let reason = StopReason::Terminated(signal);
                let stopped = ids.into_iter().filter(|id| self.stop_task(id, Some(reason))).collect();
                drop(answer.send(stopped));
            }
            Question::Shutdown => self.asked(Asked::ONCE),
        }
    }

    /// All requests, those that came first before the others.
    fn held(&self) -> Vec<Held> {
        let children = self.children();
        let mut held: Vec<Held> = self
            .table
            .iter()
            .map(|(_, entry)| Held {
                request: entry.request.clone(),
                state: entry.state,
                started: entry.started.as_ref().map(|started| started.since),
                pid: entry.started.as_ref().and_then(|started| match started.executor.as_deref() {
                    Some(child) if entry.pool.has_children() => children.get(child).copied(),
                    _ => Some(std::process::id()),
                }),
                acknowledged: entry.acknowledged.is_some(),
            })
            .collect();
        held.sort_by_key(|held| held.request.delivery.tag);
        held
    }

    /// The processes of the children by their names.
    fn children(&self) -> HashMap<Box<str>, u32> {
        let mut children = HashMap::new();
        for lane in self.lanes.iter().filter(|lane| lane.pool.kind().has_children()) {
            let Value::List(rows) = lane.pool.facts() else { continue };
            children.extend(rows.iter().filter_map(|row| {
                let pid = u32::try_from(row.get("pid")?.as_i64()?).ok()?;
                Some((row.get("name")?.as_str()?.into(), pid))
            }));
        }
        children
    }
}
