//! What is left of an outcome that the store refuses.

use celeriac_protocol::{State, Value};
use celeriac_store::{Closing, Consequences, Error, FailureReason, Finish, Settle};

use super::{Finisher, Item};
use crate::finish::exception;
use crate::outcome::{Failure, FailureCode};
use crate::workflow::{End, Fault};

/// How much of an outcome has been left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reduced {
    /// Nothing.
    #[default]
    Whole,
    /// The body of the chord that it would have completed.
    Body,
    /// The result: the task has failed because of it.
    Result,
    /// Every message that was to follow.
    Messages,
}

impl Item {
    /// Whether something is left that may be what is too large.
    pub(super) fn can_be_reduced(&self) -> bool {
        match self.ended {
            Some(_) => self.reduced < Reduced::Messages,
            None => self.reduced < Reduced::Result,
        }
    }

    /// Whether it waits to hear that it completes a chord.
    pub(super) fn asks(&self) -> bool {
        let parts = self.finish.workflow.iter().flat_map(|workflow| &workflow.parts);
        parts.into_iter().any(|part| matches!(part.closing, Closing::Ask))
    }

    /// Whether it brings the body of a chord.
    fn completes(&self) -> bool {
        let parts = self.finish.workflow.iter().flat_map(|workflow| &workflow.parts);
        parts
            .into_iter()
            .any(|part| part.state == State::Success && matches!(part.closing, Closing::Known(_)))
    }
}

impl Finisher {
    /// Composes what follows the end of a task.
    pub(super) fn follow(&self, item: &mut Item) {
        let Some(ended) = item.ended.as_deref().filter(|_| item.finish.workflow.is_none()) else { return };
        match self.workflow.after(ended, self.clock.now()) {
            Ok(sequel) => {
                if let (Some(result), true) = (&mut item.finish.result, !sequel.children.is_empty()) {
                    match &mut result.record.children {
                        Value::List(children) => children.extend(sequel.children),
                        other => *other = Value::List(sequel.children),
                    }
                }
                let is_something = !sequel.consequences.is_empty();
                item.finish.workflow = is_something.then(|| Box::new(sequel.consequences));
            }
            Err(failure) => {
                let id = &ended.delivery.message.headers.id;
                tracing::error!(task_id = ?id, error = %failure, "failed: what follows it cannot be sent");
                self.fail(item, &failure);
            }
        }
    }

    /// Makes an outcome that of a failed task.
    fn fail(&self, item: &mut Item, failure: &Failure) {
        let fault = Fault { state: State::Failure, exception: failure.exception(), traceback: None };
        let Some(ended) = &mut item.ended else { return };
        if item.finish.result.is_none() && matches!(ended.end, End::Replaced(_)) {
            item.finish.result = self.workflow.result_of(&ended.delivery, &fault, self.clock.now());
        } else if let Some(result) = &mut item.finish.result {
            result.record.state = fault.state.clone();
            result.record.result = fault.exception.clone();
            result.record.traceback = None;
        }
        ended.end = End::Failure(fault);
        item.finish.workflow = None;
        self.follow(item);
    }

    /// The same outcome without the largest thing that it can do without.
    pub(super) fn reduce(&self, mut item: Item, error: &Error) -> Item {
        let text: Box<str> = format!("{error}; or raise store_message_limit").into();
        if item.reduced < Reduced::Body
            && item.completes()
            && let (Some(ended), Some(workflow)) = (&item.ended, &mut item.finish.workflow)
        {
            let closing = self.workflow.refused_body(ended, &text, self.clock.now());
            replace_closing(workflow, closing);
            item.reduced = Reduced::Body;
        } else if item.reduced < Reduced::Result {
            if let Some(result) = &item.finish.result {
                tracing::error!(task_id = %result.record.task_id, "the result is not stored: {text}");
            }
            self.replace_result(&mut item, text);
        } else {
            if let Some(workflow) = &mut item.finish.workflow {
                tracing::error!("what follows a failed task is not sent: {text}");
                drop_messages(workflow);
            }
            item.reduced = Reduced::Messages;
        }
        self.trace(&mut item);
        item
    }

    /// The outcome that says that the real one was too large to be stored.
    fn replace_result(&self, item: &mut Item, text: Box<str>) {
        let failure = Failure::new("ResultTooLarge", None, text.clone());
        if let Some(result) = &mut item.finish.result {
            result.record.state = State::Failure;
            result.record.result = exception("ResultTooLarge", None, &text);
            result.record.traceback = None;
            result.record.children = Value::List(Vec::new());
        }
        let code = FailureCode::ResultTooLarge.as_str().into();
        let evidence = Value::Map(Vec::new());
        item.finish.settle = Settle::Fail(FailureReason { code, text, evidence });
        item.finish.follow_ups = Vec::new();
        item.starts = None;
        item.reduced = Reduced::Result;
        self.fail(item, &failure);
    }
}

fn replace_closing(consequences: &mut Consequences, closing: Consequences) {
    let known = consequences.parts.iter_mut().find(|part| part.state == State::Success);
    if let Some(part) = known {
        part.closing = Closing::Known(Box::new(closing));
    }
}

fn drop_messages(consequences: &mut Consequences) {
    consequences.publication.messages.clear();
    for part in &mut consequences.parts {
        if let Closing::Known(closing) = &mut part.closing {
            drop_messages(closing);
        }
    }
}

/// Whether there is a delivery to return, which is not what was tried already.
pub(super) fn can_go_back(item: &Item) -> bool {
    let has_delivery = item.finish.delivery.is_some() || item.prepares;
    has_delivery && !matches!(item.finish.settle, Settle::Requeue | Settle::Release)
}

/// The return of a delivery whose outcome the store refuses: kept here, its lease would be renewed for ever.
pub(super) fn sent_back(item: Item, error: &Error) -> Item {
    let id = item.key.as_ref().map(|key| key.id().as_str());
    tracing::error!(task_id = id, %error, "an outcome was refused: its task goes back to its queue");
    // What was only about to run is returned as if it had never been delivered.
    let (delivery, settle) = match item.prepares {
        true => (item.finish.delivery.or(item.starts), Settle::Release),
        false => (item.finish.delivery, Settle::Requeue),
    };
    let finish = Finish { delivery, settle, result: None, follow_ups: Vec::new(), workflow: None };
    Item { finish, ended: None, starts: None, sending: None, ..item }
}
