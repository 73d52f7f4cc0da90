//! Sending a signature as a task sends what follows it.

use celeriac_app::canvas::{Apply, Parent, Unfolded};
use celeriac_protocol::{Signature, TaskId, Value};

use super::{Member, Workflow};
use crate::outcome::Failure;

/// The task that sends others.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// It becomes their parent.
    pub(super) parent: TaskId,
    /// The first task of the workflow.
    pub(super) root: TaskId,
    /// The priority that they inherit.
    pub(super) priority: Option<u8>,
}

impl Origin {
    pub(super) fn of(member: &Member<'_>, inherits_priority: bool) -> Self {
        let priority = member.priority.filter(|_| inherits_priority);
        Self { parent: member.id.clone(), root: member.root().clone(), priority }
    }

    fn parent(&self) -> Parent {
        Parent { id: self.parent.clone(), root_id: self.root.clone() }
    }
}

impl Workflow {
    /// What a task publishes that calls this with its own result: callbacks, the next step of a chain, errbacks.
    pub(super) fn call_back(
        &self,
        call: Signature,
        args: Vec<Value>,
        chain: Vec<Signature>,
        origin: &Origin,
    ) -> Result<Unfolded, Failure> {
        let apply = Apply { args, ..Apply::callback(Value::Null, origin.parent()) }.then(chain);
        Ok(with_priority(self.unfold(call, apply)?, origin.priority))
    }

    /// What a task publishes that sends this of its own accord: the body of its chord, or what takes its place.
    pub(super) fn send(
        &self,
        call: Signature,
        args: Vec<Value>,
        chain: Vec<Signature>,
        origin: &Origin,
    ) -> Result<Unfolded, Failure> {
        let inherited = origin.priority.filter(|_| call.option("priority").is_none());
        let apply = Apply { args, chain, parent: Some(origin.parent()), ..Apply::default() };
        Ok(with_priority(self.unfold(call, apply)?, inherited))
    }

    fn unfold(&self, call: Signature, apply: Apply) -> Result<Unfolded, Failure> {
        let name = call.task.clone();
        self.app.unfold(call, apply).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            let text = format!("{name} was to follow this task: {error}{cause}");
            Failure::new("InvalidTaskError", Some("celery.exceptions"), text)
        })
    }
}

fn with_priority(mut unfolded: Unfolded, priority: Option<u8>) -> Unfolded {
    if priority.is_some() {
        let messages = unfolded.publication.messages.iter_mut();
        messages.for_each(|publish| publish.message.properties.priority = priority);
    }
    unfolded
}
