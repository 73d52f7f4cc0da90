//! What only the application can answer: its own commands, and what reads Python objects.

use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::panel::{Answer, Panel, Refusal, nok};
use crate::pool::prefork::Obeyed;

impl Panel {
    /// Lets the application obey, if there is one. What it raises has been logged there.
    pub(in crate::control) async fn ask_application(
        &self,
        command: &ControlCommand,
    ) -> Result<Answer, Refusal> {
        let Some(template) = &self.options.template else { return Ok(Answer::Unknown) };
        let arguments = Value::Map(command.arguments.clone());
        let obeyed = template.obey(&command.method, arguments).await;
        match obeyed.map_err(|error| Refusal::new("RuntimeError", error.to_string()))? {
            Obeyed::Reply(reply) => Ok(Answer::Reply(reply)),
            Obeyed::Error(raised) => Ok(Answer::Reply(nok(raised))),
            Obeyed::Shutdown => {
                self.inquirer.shut_down();
                Ok(Answer::Silence)
            }
            Obeyed::Unknown => Ok(Answer::Unknown),
        }
    }

    /// What the application replies to one of Celery's commands, if there is an application.
    pub(super) async fn reply_of_application(
        &self,
        command: &ControlCommand,
    ) -> Result<Option<Value>, Refusal> {
        match self.ask_application(command).await? {
            Answer::Reply(reply) => Ok(Some(reply)),
            Answer::Later(_) | Answer::Silence | Answer::Unknown => Ok(None),
        }
    }
}
