//! Where the worker takes tasks from: `active_queues`, `add_consumer`, `cancel_consumer`, `pause`, `resume`.

use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{QueueName, Value};
use celeriac_store::ExchangeType;

use crate::control::Question;
use crate::control::intake::{Intake, asked_for};
use crate::control::panel::{Panel, Refusal, ok};

impl Panel {
    /// The queues, each with what it is bound to, as a stock worker describes them. One whose binding the broker does not
    /// have is bound to nothing but the default exchange, where a stock worker names what it listens to.
    ///
    /// Source: `active_queues`, `celery/worker/control.py`, Celery 5.7.0, and `Queue.attrs`, `kombu/entity.py`, kombu 5.7.0.
    pub(in crate::control) fn active_queues(&self) -> Value {
        let open = self.intake.open();
        Value::List(open.iter().map(|queue| described(queue, &self.intake)).collect())
    }

    /// Takes tasks from one queue more, which is bound as the settings say, or as the command does if they do not name it.
    ///
    /// Source: `add_consumer`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn add_consumer(
        &mut self,
        command: &ControlCommand,
    ) -> Result<Value, Refusal> {
        let queue = queue_of("add_consumer", command)?;
        let binding = asked_for(&queue.into(), command)
            .map_err(|error| Refusal::new("ValueError", error.to_string()))?;
        let is_fanout = binding.exchange_type == ExchangeType::Fanout;
        if is_fanout && !self.store.broker().capabilities().fanout_bindings {
            let text = "this broker brings fan-out messages only to those who listen: bind a direct or topic exchange";
            return Err(Refusal::new("NotImplementedError", text));
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
        let bindings = intake.bindings();
        if bindings != self.intake.bindings() {
            self.store.broker().bind(&bindings).await?;
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

fn described(name: &QueueName, intake: &Intake) -> Value {
    let queue = name.as_str();
    let (exchange, kind, routing_key) = match intake.bound(name).next() {
        _ if intake.is_unbound(name) => ("", ExchangeType::Direct.as_str(), queue),
        Some(bound) => (&*bound.exchange, bound.exchange_type.as_str(), &*bound.routing_key),
        None => (queue, ExchangeType::Direct.as_str(), queue),
    };
    let map = |entries: Vec<(&str, Value)>| {
        Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    };
    let exchange = map(vec![
        ("name", exchange.into()),
        ("type", kind.into()),
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
        ("routing_key", routing_key.into()),
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
