//! Composing and sending, and reading what became of it, on the store in memory.

use std::time::Duration;

use celeriac_app::canvas::{
    AnyResult, Apply, Composed, GroupResult, chain, chord, chunks, group, group_of, map,
};
use celeriac_app::protocol::{GroupId, ResultRecord, State, TaskId, Value, body};
use celeriac_app::store::{Publication, StoreResult};
use celeriac_app::{App, ResultError, Signature};
use celeriac_macros::task;

use crate::fixture::{app, fetch};

#[task(crate = "celeriac_app")]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[task(crate = "celeriac_app", queue = "sums")]
fn total(numbers: Vec<i64>) -> i64 {
    numbers.into_iter().sum()
}

#[task(crate = "celeriac_app")]
fn label(pair: (i64, String)) -> String {
    format!("{} {}", pair.0, pair.1)
}

#[task(crate = "celeriac_app")]
fn title(id: i64) -> String {
    id.to_string()
}

#[task(crate = "celeriac_app")]
fn tell(failed: TaskId) {
    drop(failed);
}

fn unfold<T>(app: &App, signature: Signature<T>) -> Publication {
    let Composed { signature, error } = signature.into();
    assert!(error.is_none());
    app.unfold(signature, Apply::default()).unwrap().publication
}

async fn succeed(app: &App, id: &TaskId, value: i64) {
    let record = ResultRecord::new(id.clone(), State::Success, Value::Int(value), None);
    let result = StoreResult::new(record, Duration::from_secs(60));
    app.store().await.unwrap().results().store(vec![result]).await.unwrap();
}

#[tokio::test]
async fn a_chain_sends_its_first_step_with_the_others_behind_it() {
    let app = app("chain");
    let result: celeriac_app::AsyncResult<i64> =
        chain(add.s(1, 2)).then(add.step(10)).then(add.s(5, 5)).apply_async(&app).await.unwrap();
    let [delivery] = <[_; 1]>::try_from(fetch(&app, "celery").await).ok().unwrap();
    let embed = body::decode(&delivery.message).unwrap().embed;
    let ids: Vec<_> = embed.chain.iter().map(|step| step.option("task_id").and_then(Value::as_str)).collect();
    assert_eq!(ids[0], Some(result.id().as_str()), "the last step comes first, and is what is waited for");
    let [last, middle] = &embed.chain[..] else { panic!("{embed:?}") };
    assert!(last.immutable && !middle.immutable);
    let AnyResult::Task(middle) = result.parent().unwrap() else { panic!("a step is a task") };
    assert_eq!(Some(middle.id().as_str()), ids[1]);
    assert_eq!(middle.parent().unwrap().id(), delivery.message.headers.id.unwrap().as_str());
}

#[tokio::test]
async fn a_chord_begins_with_the_messages_of_its_header() {
    let app = app("chord");
    let header = group((0..3).map(|n| add.s(n, n)));
    let publication = unfold(&app, chord(header, total.step()));
    let [chord] = &publication.chords[..] else { panic!("{publication:?}") };
    assert_eq!((chord.size, publication.messages.len()), (3, 3));
    let message = &publication.messages[2].message;
    assert_eq!(message.headers.group.as_deref(), Some(chord.id.as_str()));
    assert_eq!(message.headers.group_index, Some(2));
    let body = body::decode(message).unwrap().embed.chord.unwrap();
    assert_eq!(body.task.as_str(), total.s(vec![]).task().as_str());
    assert_eq!(
        body.option("queue"),
        Some(&Value::from("sums")),
        "whoever sends the body may not know its task"
    );
}

#[test]
fn compositions_may_be_nested_and_linked_as_one_likes() {
    let app = app("nested");
    let inner = group([
        chain(add.s(1, 1)).then(add.step(2)),
        add.s(3, 3).then(group([add.step(1)])).then(total.step()),
    ]);
    let workflow: Signature<i64> = inner
        .then(total.step().link_error(tell.step()))
        .link(add.step(1))
        .then(group([add.step(1).countdown(Duration::from_secs(1)), add.step(2).queue("slow")]))
        .then(total.step())
        .link_error(tell.step());
    let publication = unfold(&app, workflow);
    assert_eq!(publication.messages.len(), 2);
    assert_eq!(publication.chords[0].size, 2);
    let labelled: Signature<String> = group_of((add.s(1, 2), title.s(7))).then(label.step());
    assert_eq!(unfold(&app, labelled).messages.len(), 2);
    let mapped: Signature<i64> = map(&add.step(0), [1]).then(total.step());
    assert!(Composed::from(mapped).error.is_some(), "a map would lose the argument");
    assert_eq!(
        unfold(&app, chunks(&title.step(), (0..10).map(|n| (n,)), 4).then(group_count())).messages.len(),
        3
    );
}

#[test]
fn what_follows_a_part_with_options_of_its_own_is_kept() {
    let app = app("parts");
    let part = add.step(1).then(group([add.step(2), add.step(3)])).header("tenant", "a");
    let publication = unfold(&app, add.s(1, 1).then(part).then(total.step().task_id("end")));
    let embed = body::decode(&publication.messages[0].message).unwrap().embed;
    let [chord, middle] = &embed.chain[..] else { panic!("{embed:?}") };
    let body = chord.chord_body().unwrap().unwrap();
    assert_eq!(body.option("task_id"), Some(&Value::from("end")));
    assert_eq!(middle.option("headers").and_then(|headers| headers.get("tenant")), Some(&Value::from("a")));
}

#[test]
fn a_priority_beyond_the_highest_counts_as_that() {
    let mut call = celeriac_app::protocol::Signature::new("proj.add");
    call.options.push(("priority".into(), Value::Int(200)));
    let publication = app("priority").unfold(call, Apply::default()).unwrap().publication;
    assert_eq!(publication.messages[0].message.properties.priority, Some(9));
}

#[test]
fn an_id_stays_with_the_part_that_was_given_it() {
    let app = app("parts-id");
    let part = add.s(1, 1).then(add.step(2)).task_id("two");
    let publication = unfold(&app, part.then(add.step(3).then(add.step(4)).task_id("four")));
    let embed = body::decode(&publication.messages[0].message).unwrap().embed;
    let ids: Vec<_> = embed.chain.iter().map(|step| step.option("task_id").and_then(Value::as_str)).collect();
    assert_eq!((ids[0], ids[2]), (Some("four"), Some("two")));
}

#[test]
fn the_headers_of_a_group_add_up() {
    let app = app("headers");
    let members = group([add.s(1, 1)]).header("tenant", "a").header("region", "b");
    let publication = app.unfold(Composed::from(members.then(total.step())).signature, Apply::default());
    let headers = &publication.unwrap().publication.messages[0].message.headers;
    for (name, value) in [("tenant", "a"), ("region", "b")] {
        let found = headers.other.iter().find(|(header, _)| **header == *name).map(|(_, found)| found);
        assert_eq!(found, Some(&Value::from(value)), "{name}");
    }
}

fn group_count() -> celeriac_app::canvas::Step<Vec<Vec<String>>, i64> {
    celeriac_app::canvas::Step::named("proj.count", vec![], vec![])
}

#[tokio::test]
async fn a_group_is_joined_in_order_and_iterated_as_it_comes() {
    let app = app("group");
    let result = group((0..3).map(|n| add.s(n, n))).apply_async(&app).await.unwrap();
    let members: Vec<_> = result.results().map(|member| member.id().clone()).collect();
    succeed(&app, &members[2], 4).await;
    let mut iterated = result.iter(Duration::from_secs(5));
    let (place, value) = iterated.next().await.unwrap().unwrap();
    assert_eq!((place, value.unwrap()), (2, 4));
    assert_eq!((result.completed_count().await.unwrap(), result.is_ready().await.unwrap()), (1, false));
    let late = result.join(Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(late, ResultError::Timeout { .. }), "{late}");
    succeed(&app, &members[0], 0).await;
    succeed(&app, &members[1], 2).await;
    assert_eq!(result.join(Duration::from_secs(5)).await.unwrap(), [0, 2, 4]);
    assert_eq!(result.join_all(Duration::MAX).await.unwrap().len(), 3);
    assert!(result.is_successful().await.unwrap() && !result.has_failed().await.unwrap());
}

#[tokio::test]
async fn a_failed_member_ends_the_join_before_the_others_end() {
    let app = app("failed");
    let result = group((0..2).map(|n| add.s(n, n))).apply_async(&app).await.unwrap();
    let failed = result.results().nth(1).unwrap().id().clone();
    let exception = celeriac_app::protocol::TaskException::new("ValueError", "no").into_value();
    let record = ResultRecord::new(failed.clone(), State::Failure, exception, None);
    let stored = StoreResult::new(record, Duration::from_secs(60));
    app.store().await.unwrap().results().store(vec![stored]).await.unwrap();
    let error = result.join(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(&error, ResultError::Failed { id, .. } if *id == failed), "{error}");
}

#[tokio::test]
async fn a_saved_group_is_restored_by_its_id() {
    let app = app("saved");
    let sent = group((0..2).map(|n| add.s(n, n))).apply_async(&app).await.unwrap();
    sent.save().await.unwrap();
    let restored: GroupResult<i64> = app.restore_group(sent.id().clone()).await.unwrap().unwrap();
    let ids =
        |group: &GroupResult<i64>| group.results().map(|member| member.id().clone()).collect::<Vec<_>>();
    assert_eq!(ids(&restored), ids(&sent));
    sent.delete().await.unwrap();
    assert!(app.restore_group::<i64>(GroupId::new(sent.id().as_str())).await.unwrap().is_none());
}

#[test]
fn ten_thousand_steps_are_one_message() {
    let app = app("long");
    let mut workflow = add.s(0, 0);
    for n in 0..10_000 {
        workflow = workflow.then(add.step(n));
    }
    let [publish] = <[_; 1]>::try_from(unfold(&app, workflow).messages).unwrap();
    assert_eq!(body::decode(&publish.message).unwrap().embed.chain.len(), 10_000);
}

#[tokio::test]
async fn a_group_of_many_is_sent_batch_by_batch() {
    let app = app("many");
    let result = group((0..25_000).map(|n| add.s(n, n))).then(total.step()).apply_async(&app).await.unwrap();
    let AnyResult::Group(header) = result.parent().unwrap() else { panic!("a header is a group") };
    assert_eq!(header.len(), 25_000);
    let chord = app.store().await.unwrap().groups().chord(header.id()).await.unwrap().unwrap();
    assert_eq!(chord.size, Some(25_000));
}

/// So many levels of groups of chains.
fn nested(levels: u32) -> Composed {
    let mut workflow = add.s(1, 1);
    for _ in 0..levels / 2 {
        workflow = add.s(1, 1).then(group([workflow])).then(total.step());
    }
    workflow.into()
}

#[test]
fn what_is_nested_as_deep_as_may_be_unfolds_on_the_stack_of_a_thread() {
    let app = app("nested-deep");
    let levels = celeriac_app::canvas::MAX_DEPTH;
    let mut publication = app.unfold(nested(levels - 4).signature, Apply::default()).unwrap().publication;
    for _ in 0..levels / 2 {
        let Some(publish) = publication.messages.first() else { break };
        let mut embed = body::decode(&publish.message).unwrap().embed;
        let Some(next) = embed.chain.pop() else { break };
        publication = app.unfold(next, Apply::default().then(embed.chain)).unwrap().publication;
    }
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let app = app("deep");
    let composed = nested(2 * celeriac_app::canvas::MAX_DEPTH);
    let refused = app.unfold(composed.signature, Apply::default()).unwrap_err();
    assert!(refused.to_string().contains("levels"), "{refused}");
}
