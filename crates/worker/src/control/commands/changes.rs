//! What is kept of earlier commands: `changes`, `forget_changes`. Both are ours.

use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::panel::{Panel, Refusal, ok};

impl Panel {
    /// What holds for this worker when it starts again: under which name it is kept, the command, and since when, in
    /// seconds since 1970.
    pub(in crate::control) async fn changes(&self) -> Result<Value, Refusal> {
        let kept = self.kept.read().await?;
        let row = |kept: crate::control::KeptCommand| {
            let seconds = kept.at.as_micros() as f64 / 1e6;
            Value::Map(vec![
                ("name".into(), (*kept.name).into()),
                ("method".into(), (*kept.command.method).into()),
                ("arguments".into(), Value::Map(kept.command.arguments)),
                ("at".into(), Value::Float(seconds)),
            ])
        };
        Ok(Value::List(kept.into_iter().map(row).collect()))
    }

    /// Forgets what is kept under `name`, or everything, for this worker and for all. What this one has obeyed holds until
    /// it ends.
    pub(in crate::control) async fn forget_changes(
        &mut self,
        command: &ControlCommand,
    ) -> Result<Value, Refusal> {
        let name = command.argument("name").and_then(Value::as_str);
        let forgotten = self.kept.forget(name).await?;
        tracing::info!(?forgotten, "what remote control has changed is kept no longer");
        Ok(ok(Value::List(forgotten.iter().map(|name| Value::from(&**name)).collect())))
    }
}
