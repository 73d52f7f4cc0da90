//! Tasks run, on the pool that they are for, and their results are stored.

use celeriac_app::protocol::{State, Value};
use celeriac_app::{App, Signature, TaskBody, TaskDefinition, args};
use celeriac_worker::Exit;

use crate::harness::{Bench, assert_state};

fn double() -> TaskDefinition {
    let body = TaskBody::asynchronous(|_context, arguments| async move {
        let Some(Value::Int(number)) = arguments.args.first() else { panic!("no number") };
        Ok(Value::Int(number * 2))
    });
    TaskDefinition::new("double", body)
}

fn triple() -> TaskDefinition {
    let body = TaskBody::blocking(|_context, _locals, arguments| {
        let Some(Value::Int(number)) = arguments.args.first() else { panic!("no number") };
        Ok(Value::Int(number * 3))
    });
    TaskDefinition::new("triple", body)
}

#[tokio::test]
async fn async_and_thread_tasks_run_in_one_worker() {
    let bench = Bench::new(App::new("test").tasks([double(), triple()])).await;
    let twice = bench.send(Signature::named("double", args![21], vec![])).await;
    let thrice = bench.send(Signature::named("triple", args![14], vec![])).await;
    let worker = bench.start();
    assert_eq!(twice.get(crate::harness::LONG).await.unwrap(), 42);
    assert_eq!(thrice.get(crate::harness::LONG).await.unwrap(), 42);
    assert_eq!(worker.stop().await, Exit::Warm);
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_message_and_place() {
    let bench = Bench::new(App::new("test").tasks([double(), triple()])).await;
    let worker = bench.start();
    for name in ["double", "triple"] {
        let record = bench.ending(&bench.call(name).await).await;
        assert_state(&record, State::Failure);
        let said = record.exception().unwrap().message();
        assert!(said.contains("no number") && said.contains("running.rs:"), "{said}");
    }
    assert_eq!(worker.stop().await, Exit::Warm);
}
