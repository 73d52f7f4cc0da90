//! Compositions for tests, and a program whose tasks they call.

use std::sync::{Arc, Mutex};

use celeriac_app::canvas::{Apply, ResultNode, ResultTree};
use celeriac_app::protocol::{ResultRecord, Signature, State, TaskId, Value};
use celeriac_app::{App, AsyncResult, TaskBody, TaskDefinition, TaskError};
use celeriac_trees::composed;

use crate::harness::Bench;

/// A call of this task with these arguments.
pub(super) fn call<const N: usize>(task: &str, args: [i64; N]) -> Signature {
    let mut signature = Signature::new(task);
    signature.args = args.into_iter().map(Value::Int).collect();
    signature
}

fn list(signatures: impl IntoIterator<Item = Signature>) -> Value {
    Value::List(signatures.into_iter().map(Signature::into_value).collect())
}

pub(super) fn chain(steps: impl IntoIterator<Item = Signature>) -> Signature {
    composed("chain", vec![("tasks", list(steps))])
}

pub(super) fn group(members: impl IntoIterator<Item = Signature>) -> Signature {
    composed("group", vec![("tasks", list(members))])
}

pub(super) fn chord(header: impl IntoIterator<Item = Signature>, body: Signature) -> Signature {
    let kwargs = Value::Map(Vec::new());
    composed("chord", vec![("kwargs", kwargs), ("header", list(header)), ("body", body.into_value())])
}

/// The same call with this errback.
pub(super) fn with_errback(mut signature: Signature, errback: Signature) -> Signature {
    signature.options.push(("link_error".into(), list([errback])));
    signature
}

/// The same call with these callbacks.
pub(super) fn with_callbacks(
    mut signature: Signature,
    callbacks: impl IntoIterator<Item = Signature>,
) -> Signature {
    signature.options.push(("link".into(), list(callbacks)));
    signature
}

/// The same call under this id.
pub(super) fn with_id(mut signature: Signature, id: &str) -> Signature {
    signature.options.push(("task_id".into(), id.into()));
    signature
}

/// What the tasks of a program were called with.
pub(super) type Calls = Arc<Mutex<Vec<(String, Vec<Value>)>>>;

/// A program with these tasks: `add` adds up its arguments and those in lists, `echo` returns its argument, `fail` fails,
/// `heard` and `heard_all` only listen, the latter to three arguments.
pub(super) fn program() -> (App, Calls) {
    let calls = Calls::default();
    let app = App::new("test")
        .task(task("add", &calls, |args| Ok(Value::Int(sum(&Value::List(args))))))
        .task(task("echo", &calls, |args| Ok(args.into_iter().next().unwrap_or_default())))
        .task(task("fail", &calls, |_| Err(TaskError::failure("ValueError", "bad").permanent())))
        .task(task("heard", &calls, |_| Ok(Value::Null)))
        .task(TaskDefinition {
            parameters: &["request", "error", "traceback"],
            ..task("heard_all", &calls, |_| Ok(Value::Null))
        });
    (app, calls)
}

/// A task that notes its calls.
pub(super) fn task(
    name: &'static str,
    calls: &Calls,
    run: fn(Vec<Value>) -> Result<Value, TaskError>,
) -> TaskDefinition {
    let calls = Arc::clone(calls);
    let body = TaskBody::asynchronous(move |_, arguments| {
        calls.lock().unwrap().push((name.to_owned(), arguments.args.clone()));
        async move { run(arguments.args) }
    });
    TaskDefinition::new(name, body)
}

fn sum(value: &Value) -> i64 {
    match value {
        Value::List(values) => values.iter().map(sum).sum(),
        value => value.as_i64().unwrap_or(0),
    }
}

/// The calls of one task.
pub(super) fn calls_of(calls: &Calls, task: &str) -> Vec<Vec<Value>> {
    let calls = calls.lock().unwrap();
    calls.iter().filter(|(name, _)| name == task).map(|(_, args)| args.clone()).collect()
}

impl Bench {
    /// Sends a composition.
    pub(super) async fn apply(&self, signature: Signature) -> ResultTree {
        let unfolded = self.app.unfold(signature, Apply::default()).unwrap();
        self.store.publish(unfolded.publication).await.unwrap();
        unfolded.result.unwrap()
    }

    /// What the task of this id ended with.
    pub(super) async fn ended(&self, id: &TaskId) -> ResultRecord {
        self.ending(&self.app.result(id.clone())).await
    }

    /// What the result of a composition is.
    pub(super) async fn value(&self, result: &ResultTree) -> Value {
        match result.node() {
            ResultNode::Task => {
                let record = self.ended(result.id()).await;
                assert_eq!(record.state, State::Success, "{record:?}");
                record.result
            }
            ResultNode::Group => {
                let mut values = Vec::new();
                for member in result.members() {
                    values.push(Box::pin(self.value(&member)).await);
                }
                Value::List(values)
            }
        }
    }

    /// What a task failed with.
    pub(super) async fn failure(&self, id: &TaskId) -> String {
        let record = self.ended(id).await;
        record.exception().unwrap_or_else(|| panic!("{id} has failed: {record:?}")).to_string()
    }

    pub(super) fn result_of(&self, id: &str) -> AsyncResult<i64> {
        self.app.result(id)
    }
}

/// Numbers as a list.
pub(super) fn ints<const N: usize>(numbers: [i64; N]) -> Value {
    Value::List(numbers.into_iter().map(Value::Int).collect())
}
