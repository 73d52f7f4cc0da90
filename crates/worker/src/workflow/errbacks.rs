//! Errbacks: what is called when a task fails.

use celeriac_protocol::{Signature, TaskId, Value};
use celeriac_store::Publication;

use super::send::Origin;
use super::shape::group_of;
use super::{Fault, Workflow};

/// The call that failed, as errbacks hear of it.
pub(super) struct FailedCall {
    pub(super) origin: Origin,
    /// What a task that asks for more than the id gets to know of it.
    pub(super) request: Value,
}

impl FailedCall {
    /// One of which nothing is known but its id.
    pub(super) fn unknown(origin: Origin) -> Self {
        let id = |id: &TaskId| Value::from(id.as_str());
        let request = vec![("id".into(), id(&origin.parent)), ("root_id".into(), id(&origin.root))];
        Self { origin, request: Value::Map(request) }
    }
}

impl Workflow {
    /// Calls errbacks: those that this program knows to take more than one argument with the request, the exception and
    /// the traceback; all others, as one group, with the id of what failed.
    ///
    /// Celery calls the former inside the process in which the task failed, and not at all if that process is gone;
    /// here they are tasks like any other. Source: `celery/backends/base.py`, `Backend._call_task_errbacks`,
    /// Celery 5.7.0.
    pub(super) fn call_errbacks(
        &self,
        failed: &FailedCall,
        errbacks: Vec<Signature>,
        fault: &Fault,
        into: &mut Publication,
    ) {
        let (new_style, old_style): (Vec<_>, Vec<_>) =
            errbacks.into_iter().partition(|errback| self.takes_the_failure(errback));
        for errback in new_style {
            let traceback = fault.traceback.as_deref().map_or(Value::Null, Value::from);
            let args = vec![failed.request.clone(), fault.exception.clone(), traceback];
            self.call_errback(failed, errback, args, into);
        }
        if !old_style.is_empty() {
            let args = vec![Value::from(failed.origin.parent.as_str())];
            self.call_errback(failed, group_of(old_style), args, into);
        }
    }

    /// Whether the task of this errback takes more than one argument besides those that it has been given.
    fn takes_the_failure(&self, errback: &Signature) -> bool {
        let Some(task) = self.app.find_task(errback.task.as_str()) else { return false };
        let given = if errback.immutable { 0 } else { errback.args.len() };
        let named =
            |name: &str| !errback.immutable && errback.kwargs.iter().any(|(given, _)| &**given == name);
        let open = task.parameters.iter().filter(|name| !named(name)).count();
        open.saturating_sub(given) > 1
    }

    fn call_errback(
        &self,
        failed: &FailedCall,
        errback: Signature,
        args: Vec<Value>,
        into: &mut Publication,
    ) {
        let name = errback.task.clone();
        match self.call_back(errback, args, Vec::new(), &failed.origin) {
            Ok(sent) => into.append(sent.publication),
            Err(error) => {
                tracing::error!(task_id = %failed.origin.parent, errback = %name, %error, "an errback cannot be sent");
            }
        }
    }
}
