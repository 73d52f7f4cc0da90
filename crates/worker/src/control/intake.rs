//! Which queues a worker takes tasks from, as remote control changes that.

use std::collections::BTreeSet;

use celeriac_protocol::QueueName;
use celeriac_protocol::control::ControlCommand;

/// The queues that a worker is to take from, and those that are paused: a pause ends, and what else changed meanwhile holds
/// then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Intake {
    queues: Vec<QueueName>,
    paused: BTreeSet<QueueName>,
}

impl Intake {
    /// That of a worker that starts with these queues.
    pub(crate) fn new(queues: Vec<QueueName>) -> Self {
        Self { queues, paused: BTreeSet::new() }
    }

    /// Where tasks are taken from now.
    pub(crate) fn open(&self) -> Vec<QueueName> {
        self.queues.iter().filter(|queue| !self.paused.contains(*queue)).cloned().collect()
    }

    /// Changes it as a command says. Says whether that changed anything; a command about something else does not.
    pub(crate) fn obey(&mut self, command: &ControlCommand) -> bool {
        let Some(queue) = command.argument("queue").and_then(celeriac_protocol::Value::as_str) else {
            return false;
        };
        let queue = QueueName::new(queue);
        let has = self.queues.contains(&queue);
        match &*command.method {
            "add_consumer" if !has => self.queues.push(queue),
            "cancel_consumer" if has => self.queues.retain(|name| *name != queue),
            "pause" => return self.paused.insert(queue),
            "resume" => return self.paused.remove(&queue),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use celeriac_protocol::control::Address;

    use super::*;

    fn obey(intake: &mut Intake, method: &str, queue: &str) -> bool {
        let arguments = vec![("queue".into(), queue.into())];
        let (method, address) = (method.into(), Address::All);
        intake.obey(&ControlCommand { method, arguments, address, reply_to: None, clock: 0 })
    }

    fn open(intake: &Intake) -> Vec<String> {
        intake.open().iter().map(|queue| queue.as_str().to_owned()).collect()
    }

    #[test]
    fn queues_come_and_go() {
        let mut intake = Intake::new(vec![QueueName::new("a"), QueueName::new("b")]);
        assert!(obey(&mut intake, "add_consumer", "c") && !obey(&mut intake, "add_consumer", "a"));
        assert!(obey(&mut intake, "cancel_consumer", "a") && !obey(&mut intake, "cancel_consumer", "z"));
        assert_eq!(open(&intake), ["b", "c"]);
        assert!(!obey(&mut intake, "rate_limit", "b"));
    }

    #[test]
    fn a_pause_outlasts_other_changes_of_its_queue() {
        let mut intake = Intake::new(vec![QueueName::new("a"), QueueName::new("b")]);
        assert!(obey(&mut intake, "pause", "a") && !obey(&mut intake, "pause", "a"));
        assert_eq!(open(&intake), ["b"]);
        obey(&mut intake, "cancel_consumer", "a");
        obey(&mut intake, "add_consumer", "a");
        assert_eq!(open(&intake), ["b"]);
        assert!(obey(&mut intake, "resume", "a") && !obey(&mut intake, "resume", "a"));
        assert_eq!(open(&intake), ["b", "a"]);
    }
}
