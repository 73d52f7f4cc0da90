//! Compositions as Celery writes them.

use celeriac_app::protocol::{Signature, Value};

use crate::perform::{TASKS, keywords};
use crate::tree::folded;
use crate::{Deed, Task, Tree};

impl Tree {
    /// The call that is sent.
    pub fn signature(&self) -> Signature {
        match self {
            Self::Task(task) => task.signature(),
            Self::Chain(steps) => composed("chain", vec![("tasks", list(&folded(steps)))]),
            Self::Group(members) => composed("group", vec![("tasks", list(members))]),
            Self::Chord(header, body) => {
                let body = body.signature().into_value();
                let kwargs = Value::Map(Vec::new());
                composed("chord", vec![("kwargs", kwargs), ("header", list(header)), ("body", body)])
            }
        }
    }
}

impl Task {
    fn signature(&self) -> Signature {
        let mut signature = Signature::new(TASKS[self.kind]);
        signature.kwargs = keywords(self);
        signature.immutable = self.immutable;
        let mut set = |name: &str, value: Value| signature.options.push((name.into(), value));
        set("task_id", self.id.as_str().into());
        for (name, call) in [("link", &self.callback), ("link_error", &self.errback)] {
            if let Some(call) = call {
                set(name, list(std::slice::from_ref(call)));
            }
        }
        if self.deed == Deed::Expire {
            set("expires", Value::Int(0));
        }
        signature
    }
}

/// A call of a composition's pseudo-task: `chain`, `group` or `chord`.
pub fn composed(kind: &str, kwargs: Vec<(&str, Value)>) -> Signature {
    let mut signature = Signature::new(format!("celery.{kind}"));
    signature.kwargs = kwargs.into_iter().map(|(name, value)| (name.into(), value)).collect();
    signature.subtask_type = Some(kind.into());
    signature
}

fn list(trees: &[Tree]) -> Value {
    Value::List(trees.iter().map(|tree| tree.signature().into_value()).collect())
}
