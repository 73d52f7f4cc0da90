//! The end of the worker: `shutdown`.

use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::panel::Panel;

impl Panel {
    /// Begins a warm shutdown, of which nobody gets a reply.
    pub(in crate::control) fn shutdown(&self, command: &ControlCommand) {
        let said = command.argument("msg").and_then(Value::as_str).unwrap_or("Got shutdown from remote");
        tracing::warn!("{said}");
        self.inquirer.shut_down();
    }
}
