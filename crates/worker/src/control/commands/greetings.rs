//! Whether the worker is there, and what others have to know when they start: `ping`, `clock`, `hello`, `election`.

use std::collections::HashSet;

use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{TaskId, Value};

use crate::control::panel::{Panel, Refusal, ok};

/// The most revocations that a worker which starts is told of, and that are taken over from it: the last. A stock worker tells all
/// that it has, up to 50,000, in every reply.
///
/// Source: `REVOKES_MAX`, `celery/worker/state.py`, Celery 5.7.0.
const TOLD: usize = 10_000;

impl Panel {
    pub(in crate::control) fn ping(&self) -> Value {
        ok("pong")
    }

    pub(in crate::control) fn tell_clock(&self) -> Value {
        Value::Map(vec![("clock".into(), self.clock.value().into())])
    }

    /// A stock worker starts and asks the others what they know: the clock, and which tasks are revoked by their ids, the
    /// oldest revocation first. What it brings is stored, for all workers.
    ///
    /// Source: `hello`, `celery/worker/control.py`, and `Mingle`, `celery/worker/consumer/mingle.py`, Celery 5.7.0.
    pub(in crate::control) async fn hello(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        let from = command.argument("from_node").ok_or_else(|| Refusal::missing("hello", &["from_node"]))?;
        let from = from.as_str().unwrap_or_default();
        if from == self.options.node_name {
            return Ok(Value::Null);
        }
        tracing::info!("sync with {from}");
        self.take_over_revocations(command.argument("revoked").map_or_else(Vec::new, brought)).await?;
        let revoked = self.revoked_ids(TOLD).await?;
        let revoked = revoked.iter().rev().map(|id| id.as_str().into()).collect();
        Ok(Value::Map(vec![
            ("revoked".into(), Value::List(revoked)),
            ("clock".into(), self.clock.forward().into()),
        ]))
    }

    /// Nobody votes here, as in a stock worker without gossip.
    ///
    /// Source: `election`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) fn election(command: &ControlCommand) -> Result<Value, Refusal> {
        let missing: Vec<&str> =
            ["id", "topic"].into_iter().filter(|name| command.argument(name).is_none()).collect();
        if missing.is_empty() { Ok(Value::Null) } else { Err(Refusal::missing("election", &missing)) }
    }
}

/// The last revocations of another worker, which names the oldest first: a list of ids, or before Celery 5.7 a map by them.
fn brought(revoked: &Value) -> Vec<TaskId> {
    let ids: Vec<&str> = match revoked {
        Value::List(ids) => ids.iter().filter_map(Value::as_str).collect(),
        Value::Map(ids) => ids.iter().map(|(id, _)| &**id).collect(),
        _ => Vec::new(),
    };
    let mut known = HashSet::new();
    let last = ids.into_iter().rev().filter(|id| known.insert(*id)).take(TOLD);
    let mut last: Vec<TaskId> = last.map(TaskId::new).collect();
    last.reverse();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_revocations_are_taken_over_in_their_order() {
        let ids = Value::List(vec!["b".into(), "a".into(), "b".into(), Value::Int(1)]);
        assert_eq!(brought(&ids), [TaskId::new("a"), TaskId::new("b")]);
        let by_id = Value::Map(vec![("a".into(), Value::Float(1.5)), ("b".into(), Value::Null)]);
        assert_eq!(brought(&by_id), [TaskId::new("a"), TaskId::new("b")]);
        assert_eq!(brought(&"a".into()), []);
        let many = (0..TOLD + 2).map(|number| number.to_string().as_str().into()).collect();
        let last = brought(&Value::List(many));
        assert_eq!((last.len(), &last[0]), (TOLD, &TaskId::new("2")));
    }
}
