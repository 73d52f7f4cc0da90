//! Whether the worker is there, and what time it has: `ping`, `clock`, `hello`.

use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::panel::{Panel, ok};

impl Panel {
    pub(in crate::control) fn ping(&self) -> Value {
        ok("pong")
    }

    pub(in crate::control) fn tell_clock(&self) -> Value {
        Value::Map(vec![("clock".into(), self.clock.value().into())])
    }

    /// A stock worker starts and asks the others what they know.
    ///
    /// It gets the clock and no revocations: those are in the store, where every worker of ours looks, and a stock one that
    /// was told of them when they were made keeps them itself.
    pub(in crate::control) fn hello(&mut self, command: &ControlCommand) -> Value {
        let from = command.argument("from_node").and_then(Value::as_str).unwrap_or_default();
        if from == self.options.node_name {
            return Value::Null;
        }
        tracing::info!("sync with {from}");
        Value::Map(vec![
            ("revoked".into(), Value::List(Vec::new())),
            ("clock".into(), self.clock.forward().into()),
        ])
    }
}
