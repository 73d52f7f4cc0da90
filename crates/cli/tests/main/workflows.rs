//! What `inspect workflow` says of workflows at work.

use std::time::Instant;

use celeriac_app::canvas::{Step, group};
use celeriac_app::protocol::Value;
use celeriac_app::{App, Signature, args, kwargs};

use crate::harness::{DEADLINE, Program};

fn app(program: &Program) -> App {
    let file = program.folder().join("tasks.db");
    App::new("demo").settings(|settings| settings.broker_url = format!("sqlite:///{}", file.display()))
}

fn call(task: &'static str) -> Signature<i64> {
    Signature::named(task, args![1, 2], kwargs! {})
}

/// A chord of a sum, a task that runs until it is stopped, and one that nobody takes; the id of its body.
fn send_chord(app: &App) -> String {
    let header = group([
        call("demo.add").task_id("sum"),
        call("demo.hold").task_id("held"),
        call("demo.add").task_id("left").queue("mails"),
    ]);
    let body = Step::<Vec<i64>, i64>::named("demo.add", args![], kwargs! {}).task_id("body");
    header.then(body).apply_blocking(app).unwrap().id().as_str().to_owned()
}

/// As shown once the worker has come so far, with `CHORD` for the id that the chord was given.
fn shown(program: &Program, id: &str) -> String {
    let until = Instant::now() + DEADLINE;
    loop {
        let shown = program.succeed(&["inspect", "workflow", id]);
        if shown.contains("runs on") && shown.contains("succeeded") {
            let chord = shown.split(' ').nth(1).expect("a kind and an id come first").to_owned();
            return shown.replace(&chord, "CHORD");
        }
        assert!(Instant::now() < until, "{shown}");
    }
}

#[test]
fn a_chord_says_what_it_waits_for() {
    let program = Program::new();
    let _worker = program.start_worker(&["-c", "2", "-n", "w@here"]);
    let body = send_chord(&app(&program));
    let shown = shown(&program, &body);
    let (before, after) = shown.split_once(" for ").expect("it says for how long a task runs");
    assert_eq!(
        before,
        "\
chord CHORD of 3: 1 succeeded, 1 running, 1 waiting in a queue
  demo.hold held: runs on w@here"
    );
    let (_, after) = after.split_once('\n').unwrap();
    assert_eq!(
        after,
        "  demo.add left: waits in queue mails, where it is next; no Celeriac worker consumes it
  ... 1 more: succeeded
body demo.add body: not sent yet, waits for 2 of the 3 members  <- asked for"
    );
}

#[test]
fn a_member_finds_its_workflow_in_json() {
    let program = Program::new();
    send_chord(&app(&program));
    let tree = program.json(&["inspect", "workflow", "left"]);
    let nodes = tree.get("nodes").and_then(Value::as_list).unwrap();
    let told =
        |node: &Value| ["kind", "role", "standing"].map(|field| node.get(field).cloned().unwrap_or_default());
    let expected = [
        ["chord", "start", ""],
        ["task", "member", "ready"],
        ["task", "member", "ready"],
        ["task", "member", "ready"],
        ["task", "body", "not-sent"],
    ];
    let expected =
        expected.map(|node| node.map(|text| if text.is_empty() { Value::Null } else { text.into() }));
    assert_eq!(nodes.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn nothing_is_known_of_a_stranger() {
    let ended = Program::new().run(&["inspect", "workflow", "nobody"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.starts_with("error: nothing is known of nobody on sqlite:"), "{}", ended.err);
}
