//! How many processes and threads run tasks, and that they are new: `pool_grow`, `pool_shrink`, `pool_restart`.

use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{Value, repr};

use crate::control::Question;
use crate::control::panel::{Panel, Refusal, ok};

impl Panel {
    /// Every pool whose size is the concurrency of the worker grows; async tasks run in no such pool, and may be more at once
    /// only where there is none.
    ///
    /// Source: `pool_grow`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn grow_pool(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        self.resize(count(command)?).await?;
        Ok(ok("pool will grow"))
    }

    /// A child that is one too many ends its task first; a stock worker refuses to end those that are busy.
    ///
    /// Source: `pool_shrink`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn shrink_pool(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        self.resize(-count(command)?).await?;
        Ok(ok("pool will shrink"))
    }

    async fn resize(&self, by: isize) -> Result<(), Refusal> {
        self.inquirer.ask(|answer| Question::Resize(by, answer)).await?
    }

    /// Where the setting `worker_pool_restarts` allows it: the template reloads what it is told to, and every child is
    /// replaced once it has ended its task.
    ///
    /// Source: `pool_restart`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn restart_pool(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        let reply = self.reply_of_application(command).await?;
        let reply = reply.ok_or_else(|| Refusal::new("ValueError", "Pool restarts not enabled"))?;
        if reply.get("ok").is_some() {
            self.inquirer.ask(Question::Restart).await?;
        }
        Ok(reply)
    }
}

/// How many processes or threads a command speaks of: one, unless it says so.
fn count(command: &ControlCommand) -> Result<isize, Refusal> {
    let Some(count) = command.argument("n") else { return Ok(1) };
    let number = count.as_i64().filter(|number| *number >= 0).and_then(|number| isize::try_from(number).ok());
    number.ok_or_else(|| Refusal::new("ValueError", format!("no number of processes: {}", repr::repr(count))))
}
