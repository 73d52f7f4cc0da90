//! Where the worker takes tasks from: `active_queues`, `add_consumer`, `cancel_consumer`, `pause`, `resume`.

use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::Question;
use crate::control::panel::{Panel, Refusal, ok};

impl Panel {
    /// The queues, each with the exchange of its name, as a stock worker describes those that it makes itself.
    ///
    /// Source: `active_queues`, `celery/worker/control.py`, Celery 5.7.0, and `Queue.attrs`, `kombu/entity.py`, kombu 5.7.0.
    pub(in crate::control) fn active_queues(&self) -> Value {
        Value::List(self.intake.open().iter().map(|queue| described(queue.as_str())).collect())
    }

    /// Takes tasks from one queue more. It is bound to the exchange of its name, as a queue that a stock worker makes itself.
    ///
    /// Source: `add_consumer`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn add_consumer(
        &mut self,
        command: &ControlCommand,
    ) -> Result<Value, Refusal> {
        let queue = queue_of("add_consumer", command)?;
        for (name, usual) in [("exchange", queue), ("exchange_type", "direct"), ("routing_key", queue)] {
            let given = command.argument(name).and_then(Value::as_str).filter(|given| !given.is_empty());
            if given.is_some_and(|given| given != usual) {
                let text = format!("{name} can only be {usual}: bind the queue where it is sent to");
                return Err(Refusal::new("NotImplementedError", text));
            }
        }
        if self.change_intake(command).await? {
            tracing::info!("Started consuming from {queue}");
        }
        Ok(ok(format!("add consumer {queue}")))
    }

    /// Takes no more tasks from a queue. Those that the worker has of it run.
    ///
    /// Source: `cancel_consumer`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn cancel_consumer(
        &mut self,
        command: &ControlCommand,
    ) -> Result<Value, Refusal> {
        let queue = queue_of("cancel_consumer", command)?;
        tracing::info!("Canceling queue {queue}");
        self.change_intake(command).await?;
        Ok(ok(format!("no longer consuming from {queue}")))
    }

    /// Takes no more tasks from a queue until that is resumed, also if the worker is only told later to take from it. Ours.
    pub(in crate::control) async fn pause(&mut self, command: &ControlCommand) -> Result<Value, Refusal> {
        let queue = queue_of("pause", command)?;
        if self.change_intake(command).await? {
            tracing::info!("Paused queue {queue}");
        }
        Ok(ok(format!("paused {queue}")))
    }

    /// Ends a pause. Ours.
    pub(in crate::control) async fn resume(&mut self, command: &ControlCommand) -> Result<Value, Refusal> {
        let queue = queue_of("resume", command)?;
        if self.change_intake(command).await? {
            tracing::info!("Resumed queue {queue}");
        }
        Ok(ok(format!("resumed {queue}")))
    }

    /// Says whether the command changed anything.
    async fn change_intake(&mut self, command: &ControlCommand) -> Result<bool, Refusal> {
        let mut intake = self.intake.clone();
        if !intake.obey(command) {
            return Ok(false);
        }
        let open = intake.open();
        if open != self.intake.open() {
            self.inquirer.ask(|done| Question::Consume(open, done)).await?;
        }
        self.intake = intake;
        Ok(true)
    }
}

fn queue_of<'command>(method: &str, command: &'command ControlCommand) -> Result<&'command str, Refusal> {
    let queue = command.argument("queue").and_then(Value::as_str);
    queue.ok_or_else(|| Refusal::missing(method, &["queue"]))
}

fn described(queue: &str) -> Value {
    let map = |entries: Vec<(&str, Value)>| {
        Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    };
    let exchange = map(vec![
        ("name", queue.into()),
        ("type", "direct".into()),
        ("arguments", Value::Null),
        ("durable", true.into()),
        ("passive", false.into()),
        ("auto_delete", false.into()),
        ("delivery_mode", Value::Null),
        ("no_declare", false.into()),
    ]);
    map(vec![
        ("name", queue.into()),
        ("exchange", exchange),
        ("routing_key", queue.into()),
        ("queue_arguments", Value::Null),
        ("binding_arguments", Value::Null),
        ("consumer_arguments", Value::Null),
        ("durable", true.into()),
        ("exclusive", false.into()),
        ("auto_delete", false.into()),
        ("no_ack", false.into()),
        ("alias", Value::Null),
        ("bindings", Value::List(Vec::new())),
        ("no_declare", Value::Null),
        ("expires", Value::Null),
        ("message_ttl", Value::Null),
        ("max_length", Value::Null),
        ("max_length_bytes", Value::Null),
        ("max_priority", Value::Null),
    ])
}
