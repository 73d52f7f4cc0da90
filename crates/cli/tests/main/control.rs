//! Calls, results, queues, failed tasks and revocations.

use celeriac_protocol::Value;

use crate::harness::Program;

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or_else(|| panic!("{value:?} has no {name}"))
}

#[test]
fn a_call_waits_in_its_queue_until_it_is_purged() {
    let program = Program::new();
    let id = program.succeed(&["call", "demo.add", "--args", "[1, 2]", "--task-id", "my-id"]);
    assert_eq!(id, "my-id");
    program.succeed(&["call", "demo.add", "--countdown", "1h", "--queue", "slow", "--priority", "9"]);
    let expected = "\
QUEUE   READY  SCHEDULED  LENT  CONSUMERS
celery      1          0     0          0
slow        0          1     0          0";
    assert_eq!(program.succeed(&["queues"]), expected);

    let ended = program.run(&["purge", "celery"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "without a terminal nothing is confirmed");
    assert!(ended.err.contains("next: pass --force"), "{}", ended.err);
    assert_eq!(
        program.succeed(&["purge", "celery", "slow", "--force"]),
        "removed 1 from celery\nremoved 1 from slow"
    );
}

#[test]
fn a_task_without_a_result_is_pending() {
    let program = Program::new();
    let ended = program.run(&["result", "nobody", "--wait", "0.01"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    let expected = "\
note: no worker is alive; waiting all the same
error: task nobody has no result: it waits, or nobody knows it
  next: wait with --wait; `queues`, `failed list` and `inspect` show where it could be
";
    assert_eq!(ended.err, expected);
}

#[test]
fn a_slip_in_the_name_of_a_task_is_pointed_at() {
    let ended = Program::new().run(&["call", "demo.ad"]);
    assert_eq!(ended.code, 0);
    assert_eq!(ended.err, "note: demo.ad is not a task of this program; did you mean demo.add?\n");
}

#[test]
fn a_call_runs_and_its_result_is_printed() {
    let program = Program::new();
    let _worker = program.start_worker(&["-c", "1"]);
    assert_eq!(program.succeed(&["call", "demo.add", "-a", "[1, 2]", "--wait"]), "3");
    let id = program.succeed(&["call", "demo.add", "-a", "[20, 22]"]);
    assert_eq!(program.succeed(&["result", &id, "--wait", "60"]), "42");
    assert_eq!(field(&program.json(&["result", &id]), "state"), &Value::from("SUCCESS"));
}

#[test]
fn a_failed_task_fails_the_call_that_waits_for_it() {
    let program = Program::new();
    let _worker = program.start_worker(&["-c", "1"]);
    let ended = program.run(&["call", "demo.fail", "--task-id", "f1", "--wait", "60"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.starts_with("error: task f1 failed\n  cause: ValueError: no links\n"), "{}", ended.err);
}

#[test]
fn a_call_does_not_wait_for_a_result_that_is_ignored() {
    let program = Program::new();
    let ended = program.run(&["call", "demo.mute", "--task-id", "f1", "--wait"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.starts_with("error: task f1 was sent, and its result will not be stored: "),
        "{ended:?}"
    );
    assert!(ended.err.contains("demo.mute ignores results"), "{ended:?}");
}

#[test]
fn an_unknown_task_is_kept_as_failed_and_can_be_sent_again() {
    let program = Program::new();
    program.succeed(&["call", "demo.addd", "--args", "[1]", "--task-id", "lost"]);
    let mut worker = program.start_worker(&["-c", "1"]);
    worker.wait_for("lost");
    // It is listed once the worker has settled it.
    program.run(&["result", "lost", "--wait", "60"]);

    let list = program.succeed(&["failed", "list"]);
    assert!(list.contains("lost") && list.contains("unknown-task"), "{list}");
    let shown = program.succeed(&["failed", "show", "lost"]);
    assert!(shown.contains("demo.addd") && shown.contains("demo.add"), "{shown}");
    assert_eq!(program.succeed(&["failed", "requeue", "lost"]), "requeued 1");
    worker.wait_for("lost");
    program.run(&["result", "lost", "--wait", "60"]);
    assert_eq!(program.succeed(&["failed", "drop", "--all", "--force"]), "dropped 1");
    assert_eq!(program.run(&["failed", "list"]).err, "no failed tasks\n");
    let ended = program.run(&["failed", "show", "lost"]);
    assert_eq!(ended.code, 1);
}

#[test]
fn a_revoked_task_never_starts() {
    let program = Program::new();
    program.succeed(&["call", "demo.add", "--task-id", "unwanted"]);
    assert_eq!(program.succeed(&["revoke", "unwanted"]), "revoked unwanted");
    let _worker = program.start_worker(&["-c", "1"]);
    program.succeed(&["call", "demo.add", "--wait"]);
    let ended = program.run(&["result", "unwanted"]);
    assert_eq!(ended.code, 1, "{ended:?}");
}

#[test]
fn revoking_what_nobody_knows_says_so_and_holds_all_the_same() {
    let program = Program::new();
    let said = program.succeed(&["revoke", "later"]);
    assert!(said.starts_with("no task later is waiting, and no worker says that it runs it; "), "{said}");
    assert!(said.contains("it is revoked until 20"), "{said}");
    program.succeed(&["call", "demo.add", "--task-id", "later"]);
    let _worker = program.start_worker(&["-c", "1"]);
    let ended = program.run(&["result", "later", "--wait", "60"]);
    assert!(ended.err.starts_with("error: task later was revoked\n"), "{}", ended.err);

    program.succeed(&["call", "demo.add", "-a", "[1, 2]", "--task-id", "done", "--wait", "60"]);
    let said = program.succeed(&["revoke", "done"]);
    assert!(said.starts_with("done has ended already: SUCCESS; "), "{said}");
    let json = program.json(&["revoke", "later"]);
    assert_eq!(field(&json, "removed"), &Value::List(vec![]));
}

#[test]
fn arguments_come_from_a_file_and_from_standard_input() {
    let program = Program::new();
    let _worker = program.start_worker(&["-c", "1"]);
    program.write("numbers.json", "[20, 22]\n");
    assert_eq!(program.succeed(&["call", "demo.add", "-a", "@numbers.json", "--wait", "60"]), "42");
    let ended = program.run_with_input(&["call", "demo.add", "--args", "-", "--wait", "60"], "[1, 2]");
    assert_eq!((ended.code, ended.out.trim()), (0, "3"), "{ended:?}");
    let ended = program.run(&["call", "demo.add", "-a", "@nowhere.json"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("nowhere.json cannot be read: "), "{}", ended.err);
}

#[test]
fn a_running_task_is_stopped_by_revoke_with_terminate() {
    let program = Program::new();
    let mut worker = program.start_worker(&["-c", "1"]);
    program.succeed(&["call", "demo.hold", "--task-id", "held"]);
    worker.wait_for("holding");
    let said = program.succeed(&["revoke", "held", "--terminate"]);
    assert!(
        said.starts_with("revoked held, which celery@") && said.ends_with(" runs and stops now"),
        "{said}"
    );
    let ended = program.run(&["result", "held", "--wait", "60"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("error: task held was revoked\n"), "{}", ended.err);
}
