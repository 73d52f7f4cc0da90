//! Which queues a worker takes tasks from, as remote control changes that.

use std::collections::BTreeSet;

use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{QueueName, Value};
use celeriac_store::{Binding, ExchangeType, UnknownExchangeType};

/// The queues that a worker is to take from, and those that are paused: a pause ends, and what else changed meanwhile holds
/// then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Intake {
    queues: Vec<QueueName>,
    paused: BTreeSet<QueueName>,
    /// How queues are bound that the settings name, whether they are taken from or not.
    configured: Vec<Binding>,
    /// Queues of which the settings say a binding that the broker does not have.
    refused: Vec<QueueName>,
    /// How those are bound that remote control has added.
    added: Vec<Binding>,
}

impl Intake {
    /// That of a worker that starts with these queues, and how queues are bound as its settings say.
    pub(crate) fn new(queues: Vec<QueueName>, configured: Vec<Binding>) -> Self {
        Self { queues, configured, ..Self::default() }
    }

    /// What the settings say of these queues, or a part of it, is not so.
    pub(crate) fn with_refused(self, refused: Vec<QueueName>) -> Self {
        Self { refused, ..self }
    }

    /// Where tasks are taken from now.
    pub(crate) fn open(&self) -> Vec<QueueName> {
        self.queues.iter().filter(|queue| !self.paused.contains(*queue)).cloned().collect()
    }

    /// How the queues are bound, the paused ones too, beside to the exchange of their own name.
    pub(crate) fn bindings(&self) -> Vec<Binding> {
        let bound = self.queues.iter().flat_map(|queue| self.bound(queue));
        bound.filter(|binding| !binding.is_by_name()).cloned().collect()
    }

    /// How a queue is bound, if anything is said of it.
    pub(crate) fn bound(&self, queue: &QueueName) -> impl Iterator<Item = &Binding> {
        self.configured.iter().chain(&self.added).filter(move |binding| binding.queue == *queue)
    }

    /// Whether a queue is bound to no exchange: only who sends to the queue itself reaches it. Where the settings say
    /// nothing of it, it is bound by its name.
    pub(crate) fn is_unbound(&self, queue: &QueueName) -> bool {
        self.refused.contains(queue) && self.bound(queue).all(Binding::is_by_name)
    }

    /// Changes it as a command says. Says whether that changed anything; a command about something else does not.
    pub(crate) fn obey(&mut self, command: &ControlCommand) -> bool {
        let Some(queue) = command.argument("queue").and_then(Value::as_str) else {
            return false;
        };
        let queue = QueueName::new(queue);
        let has = self.queues.contains(&queue);
        match &*command.method {
            "add_consumer" if !has => {
                self.add(&queue, command);
                self.queues.push(queue);
            }
            "cancel_consumer" if has => self.queues.retain(|name| *name != queue),
            "pause" => return self.paused.insert(queue),
            "resume" => return self.paused.remove(&queue),
            _ => return false,
        }
        true
    }

    /// A queue that the settings name is bound as they say, whatever the command does, as in Celery.
    fn add(&mut self, queue: &QueueName, command: &ControlCommand) {
        self.added.retain(|binding| binding.queue != *queue);
        if !self.configured.iter().any(|binding| binding.queue == *queue) {
            self.added.extend(asked_for(queue, command));
        }
    }
}

/// The binding that `add_consumer` asks for. What it does not say is as of a queue that is bound by its name.
///
/// Source: `Consumer.add_task_queue`, `celery/worker/consumer/consumer.py`, and `Queues.add_compat`, `celery/app/amqp.py`,
/// Celery 5.7.0.
pub(crate) fn asked_for(queue: &QueueName, command: &ControlCommand) -> Result<Binding, UnknownExchangeType> {
    let said = |name: &str| command.argument(name).and_then(Value::as_str).filter(|said| !said.is_empty());
    Ok(Binding {
        queue: queue.clone(),
        exchange: said("exchange").unwrap_or(queue.as_str()).into(),
        exchange_type: said("exchange_type").map_or(Ok(ExchangeType::Direct), str::parse)?,
        routing_key: said("routing_key").unwrap_or(queue.as_str()).into(),
    })
}

#[cfg(test)]
mod tests {
    use celeriac_protocol::control::Address;

    use super::*;

    fn command(method: &str, queue: &str, binding: &[(&str, &str)]) -> ControlCommand {
        let mut arguments = vec![("queue".into(), queue.into())];
        arguments.extend(binding.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let (method, address) = (method.into(), Address::All);
        ControlCommand { method, arguments, address, reply_to: None, clock: 0 }
    }

    fn obey(intake: &mut Intake, method: &str, queue: &str) -> bool {
        intake.obey(&command(method, queue, &[]))
    }

    fn open(intake: &Intake) -> Vec<String> {
        intake.open().iter().map(|queue| queue.as_str().to_owned()).collect()
    }

    #[test]
    fn queues_come_and_go() {
        let mut intake = Intake::new(vec![QueueName::new("a"), QueueName::new("b")], Vec::new());
        assert!(obey(&mut intake, "add_consumer", "c") && !obey(&mut intake, "add_consumer", "a"));
        assert!(obey(&mut intake, "cancel_consumer", "a") && !obey(&mut intake, "cancel_consumer", "z"));
        assert_eq!(open(&intake), ["b", "c"]);
        assert!(!obey(&mut intake, "rate_limit", "b"));
    }

    #[test]
    fn a_pause_outlasts_other_changes_of_its_queue() {
        let mut intake = Intake::new(vec![QueueName::new("a"), QueueName::new("b")], Vec::new());
        assert!(obey(&mut intake, "pause", "a") && !obey(&mut intake, "pause", "a"));
        assert_eq!(open(&intake), ["b"]);
        obey(&mut intake, "cancel_consumer", "a");
        obey(&mut intake, "add_consumer", "a");
        assert_eq!(open(&intake), ["b"]);
        assert!(obey(&mut intake, "resume", "a") && !obey(&mut intake, "resume", "a"));
        assert_eq!(open(&intake), ["b", "a"]);
    }

    #[test]
    fn a_queue_whose_binding_is_refused_is_bound_by_what_else_is_said_of_it() {
        let bound =
            |queue: &str| asked_for(&queue.into(), &command("", queue, &[("exchange", "post")])).unwrap();
        let queues = ["a", "b", "c"].map(QueueName::new);
        let intake = Intake::new(queues.to_vec(), vec![bound("b")]);
        let mut intake = intake.with_refused(vec!["a".into(), "b".into(), "d".into()]);
        assert_eq!(queues.map(|queue| intake.is_unbound(&queue)), [true, false, false]);
        assert!(intake.obey(&command("add_consumer", "d", &[])) && intake.is_unbound(&"d".into()));
        obey(&mut intake, "cancel_consumer", "d");
        assert!(intake.obey(&command("add_consumer", "d", &[("exchange", "post")])));
        assert!(!intake.is_unbound(&"d".into()));
    }

    #[test]
    fn a_queue_is_bound_as_its_consumer_was_added() {
        let feeds = [("exchange", "feeds"), ("exchange_type", "topic"), ("routing_key", "feed.#")];
        let bound = |queue: &str| Binding {
            queue: queue.into(),
            exchange: "feeds".into(),
            exchange_type: ExchangeType::Topic,
            routing_key: "feed.#".into(),
        };
        let mut intake = Intake::new(vec![QueueName::new("a")], vec![bound("a"), bound("b")]);
        assert_eq!(intake.bindings(), [bound("a")]);
        assert!(intake.obey(&command("add_consumer", "c", &feeds)));
        assert!(intake.obey(&command("add_consumer", "d", &[])), "by its name");
        assert!(obey(&mut intake, "pause", "c"), "what is published meanwhile waits in it");
        assert_eq!(intake.bindings(), [bound("a"), bound("c")]);
        // Consumed already, and named by the settings.
        assert!(!intake.obey(&command("add_consumer", "a", &[("exchange", "other")])));
        assert!(intake.obey(&command("add_consumer", "b", &[("exchange", "other")])));
        assert_eq!(intake.bindings(), [bound("a"), bound("c"), bound("b")]);
        assert!(obey(&mut intake, "cancel_consumer", "c") && obey(&mut intake, "add_consumer", "c"));
        assert_eq!(intake.bindings(), [bound("a"), bound("b")], "as it was added last");
        let odd = command("add_consumer", "e", &[("exchange_type", "odd")]);
        assert!(asked_for(&"e".into(), &odd).is_err());
    }
}
