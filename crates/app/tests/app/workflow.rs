//! What is told of workflows: where their tasks are, and what they wait for.

use std::time::Duration;

use celeriac_app::canvas::{Step, chain, chord, group};
use celeriac_app::protocol::{GroupId, ResultRecord, State, TaskId, Value};
use celeriac_app::store::{ChordPart, Closing, SavedGroup, StoreResult};
use celeriac_app::workflow::{NodeKind, Remark, Role, Standing, WorkflowNode, WorkflowOptions, WorkflowTree};
use celeriac_app::{App, Signature, args, kwargs};

use crate::fixture::{app, fetch};

const LONG: Duration = Duration::from_secs(3600);

fn call(name: &str) -> Signature<Value> {
    Signature::named(name, args![], kwargs! {})
}

fn step(name: &str) -> Step<Value, Value> {
    Step::named(name, args![], kwargs! {})
}

async fn tell(app: &App, id: &str) -> WorkflowTree {
    app.workflow(id, &WorkflowOptions::default()).await.unwrap().expect("something is known")
}

/// How the tasks of a tree stand, by name or else by id, with their level.
fn tasks(tree: &WorkflowTree) -> Vec<(u32, String, &'static str)> {
    let tell = |node: &WorkflowNode| match &node.what {
        NodeKind::Task(task) => {
            let id = task.id.as_ref().map(ToString::to_string);
            let name = task.name.as_ref().map(ToString::to_string).or(id);
            Some((node.level, name.unwrap_or_default(), task.standing.as_str()))
        }
        _ => None,
    };
    tree.nodes.iter().filter_map(tell).collect()
}

async fn store_result(app: &App, record: ResultRecord) {
    let result = StoreResult::new(record, LONG);
    app.store().await.unwrap().results().store(vec![result]).await.unwrap();
}

fn record(id: &str, state: State, children: &[&str]) -> ResultRecord {
    let tuple = |id: &&str| Value::List(vec![Value::List(vec![Value::from(*id), Value::Null]), Value::Null]);
    let children = Value::List(children.iter().map(tuple).collect());
    ResultRecord { children, ..ResultRecord::new(TaskId::new(id), state, Value::Null, None) }
}

#[tokio::test]
async fn the_steps_of_a_chain_wait_for_those_before_them() {
    let app = app("workflow-chain");
    let sent = chain(call("a")).then(step("b")).then(step("c")).apply_async(&app).await.unwrap();
    let last = sent.id().to_string();
    // Nothing but the message of the first step knows of the last.
    let tree = tell(&app, &last).await;
    assert_eq!(
        tasks(&tree),
        [(0, "a".into(), "ready"), (0, "b".into(), "not-sent"), (0, "c".into(), "not-sent")]
    );
    let ids: Vec<_> = tree
        .nodes
        .iter()
        .map(|node| match &node.what {
            NodeKind::Task(task) => task.id.clone(),
            _ => None,
        })
        .collect();
    let NodeKind::Task(c) = &tree.nodes[2].what else { panic!("a task") };
    assert_eq!(c.standing, Standing::NotSent { after: ids[1].clone() });
    assert_eq!(tree.queues[0].consumers, 0);
    let first = ids[0].as_ref().unwrap().to_string();
    assert_eq!(tell(&app, &first).await.nodes, tree.nodes);
}

#[tokio::test]
async fn a_body_waits_for_the_members_that_have_not_reported() {
    let app = app("workflow-chord");
    let headers = group(["x", "y", "z"].map(call));
    let sent = chord(headers, Step::<Vec<Value>, Value>::named("body", args![], kwargs! {}));
    let sent = sent.apply_async(&app).await.unwrap();
    let mut deliveries = fetch(&app, "celery").await;
    let headers = deliveries.remove(0).message.headers;
    let (id, chord) = (headers.id.unwrap(), GroupId::new(headers.group.unwrap()));
    let part = ChordPart {
        chord: chord.clone(),
        member: id.clone(),
        index: Some(0),
        state: State::Success,
        result: Value::Null,
        expires_after: LONG,
        adds: 0,
        closing: Closing::Ask,
    };
    app.store().await.unwrap().groups().count(vec![part]).await.unwrap();
    let mut ended = record(id.as_str(), State::Success, &[]);
    ended.other.push(("group_id".into(), Value::from(chord.as_str())));
    store_result(&app, ended).await;
    for asked in [sent.id().as_str(), chord.as_str()] {
        let tree = tell(&app, asked).await;
        let NodeKind::Group(group) = &tree.nodes[0].what else { panic!("a group: {tree:?}") };
        assert!(group.is_header && group.id.as_ref() == Some(&chord));
        assert_eq!((group.size, group.count("succeeded")), (Some(3), 1), "{group:?}");
        let body = tree.nodes.last().unwrap();
        assert_eq!(body.role, Role::Body);
        let NodeKind::Task(body) = &body.what else { panic!("a task") };
        assert_eq!((body.id.as_ref(), &body.standing), (Some(sent.id()), &Standing::NotSent { after: None }));
    }
}

#[tokio::test]
async fn a_member_that_is_nowhere_is_missed() {
    let app = app("workflow-missing");
    let headers = group(["x", "y"].map(call));
    let sent = chord(headers, Step::<Vec<Value>, Value>::named("body", args![], kwargs! {}));
    sent.apply_async(&app).await.unwrap();
    let headers = fetch(&app, "celery").await.remove(0).message.headers;
    let chord = GroupId::new(headers.group.unwrap());
    let store = app.store().await.unwrap();
    store.groups().extend(vec![(chord.clone(), 1)]).await.unwrap();
    let tree = tell(&app, chord.as_str()).await;
    assert_eq!(tree.remarks, [Remark::MembersMissing { chord, count: 1 }]);
}

#[tokio::test]
async fn of_a_large_group_some_members_are_told_and_the_others_counted() {
    let app = app("workflow-large");
    let ids: Vec<String> = (0..3000).map(|number| format!("m{number}")).collect();
    for (at, id) in ids.iter().enumerate().take(2000) {
        let state = if at == 7 { State::Failure } else { State::Success };
        store_result(&app, record(id, state, &[])).await;
    }
    let tuple = |id: &String| {
        Value::List(vec![Value::List(vec![Value::from(id.as_str()), Value::Null]), Value::Null])
    };
    let members = Value::List(ids.iter().map(tuple).collect());
    let result = Value::List(vec![Value::List(vec![Value::from("g"), Value::Null]), members]);
    let saved = SavedGroup { id: "g".into(), result, expires_after: LONG };
    app.store().await.unwrap().groups().save(vec![saved]).await.unwrap();
    let tree = tell(&app, "g").await;
    let NodeKind::Group(group) = &tree.nodes[0].what else { panic!("a group") };
    let counts = ["succeeded", "failed", "unknown"].map(|standing| group.count(standing));
    assert_eq!((group.size, counts), (Some(3000), [1999, 1, 1000]));
    assert!(tree.nodes.len() < 20, "{}", tree.nodes.len());
    assert!(tasks(&tree).contains(&(1, "m7".into(), "failed")));
}

#[tokio::test]
async fn results_that_refer_to_each_other_are_told_once() {
    let app = app("workflow-circle");
    for (id, child, parent) in [("one", "two", "two"), ("two", "one", "one")] {
        let mut record = record(id, State::Success, &[child, id]);
        record.other.push(("parent_id".into(), Value::from(parent)));
        store_result(&app, record).await;
    }
    let mut told = tasks(&tell(&app, "one").await);
    told.sort();
    assert_eq!(told, [(0, "one".into(), "succeeded"), (0, "two".into(), "succeeded")]);
}

#[tokio::test]
async fn a_long_chain_that_has_run_is_counted() {
    let app = app("workflow-long");
    for at in 0..500 {
        let (id, next) = (format!("s{at}"), format!("s{}", at + 1));
        let mut record = record(&id, State::Success, &[&next]);
        if at > 0 {
            record.other.push(("parent_id".into(), Value::from(format!("s{}", at - 1).as_str())));
        }
        store_result(&app, record).await;
    }
    let tree = tell(&app, "s490").await;
    assert!(tree.nodes.len() < 40, "{}", tree.nodes.len());
    let others = tree
        .nodes
        .iter()
        .any(|node| matches!(&node.what, NodeKind::Others { count, standing: "succeeded" } if *count > 400));
    assert!(others);
    let last = tasks(&tree).pop();
    assert_eq!(last, Some((0, "s500".into(), "unknown")), "what nobody knows is not made up");
}

#[tokio::test]
async fn of_what_nobody_knows_nothing_is_told() {
    let app = app("workflow-nobody");
    assert_eq!(app.workflow("nobody", &WorkflowOptions::default()).await.unwrap(), None);
}
