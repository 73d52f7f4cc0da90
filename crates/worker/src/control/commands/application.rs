//! What only the application can answer: its own commands, and what reads Python objects.

use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::panel::{Answer, Panel, Refusal, is_done, nok};
use crate::pool::prefork::{Asked, Obeyed};

impl Panel {
    /// Lets the application obey a command, and what it tells its worker by that. What its queues become is kept as if it had
    /// been said to the same workers.
    pub(in crate::control) async fn obey_application(
        &mut self,
        command: &ControlCommand,
    ) -> Result<Answer, Refusal> {
        let (answer, wishes) = self.ask(command).await?;
        for wish in wishes {
            let wish = ControlCommand { address: command.address.clone(), ..wish };
            let answer = self.obey_ours(&wish).await?;
            if is_done(&answer) {
                self.keep(&wish).await?;
            }
        }
        Ok(answer)
    }

    /// Lets the application obey, if there is one. What it raises has been logged there.
    async fn ask(&self, command: &ControlCommand) -> Result<(Answer, Vec<ControlCommand>), Refusal> {
        let Some(template) = &self.options.template else { return Ok((Answer::Unknown, Vec::new())) };
        let arguments = Value::Map(command.arguments.clone());
        let asked = Asked { method: command.method.clone(), arguments, queues: self.intake.open() };
        let obeyed = template.obey(asked).await;
        let answer = match obeyed.map_err(|error| Refusal::new("RuntimeError", error.to_string()))? {
            Obeyed::Reply(reply, wishes) => return Ok((Answer::Reply(reply), wishes)),
            Obeyed::Error(raised) => Answer::Reply(nok(raised)),
            Obeyed::Shutdown => {
                self.inquirer.shut_down();
                Answer::Silence
            }
            Obeyed::Unknown => Answer::Unknown,
        };
        Ok((answer, Vec::new()))
    }

    /// What the application replies to one of Celery's commands, if there is an application.
    pub(super) async fn reply_of_application(
        &self,
        command: &ControlCommand,
    ) -> Result<Option<Value>, Refusal> {
        match self.ask(command).await?.0 {
            Answer::Reply(reply) => Ok(Some(reply)),
            Answer::Later(_) | Answer::Silence | Answer::Unknown => Ok(None),
        }
    }
}
