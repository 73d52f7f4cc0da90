//! What follows each end of a task, as data.

use std::sync::Arc;

use celeriac_protocol::{Arguments, Embed, Serializer};
use celeriac_store::{ChordPart, Closing};

use super::*;
use crate::testing::{NOW, delivery, workflow};
use celeriac_protocol::State;

/// A call under this id.
fn call(id: &str) -> Signature {
    let mut call = Signature::new("elsewhere.task");
    call.options.push(("task_id".into(), id.into()));
    call
}

/// The same call as a member of the group `outer`, whose body is `outer-body`.
fn in_outer(mut call: Signature) -> Signature {
    shape::set_option(&mut call, "group_id", "outer");
    shape::set_option(&mut call, "chord", self::call("outer-body").into_value());
    call
}

fn sequel(end: End, embed: Embed) -> Sequel {
    sequel_with(end, embed, Vec::new())
}

fn sequel_with(end: End, embed: Embed, additions: Vec<Signature>) -> Sequel {
    let mut delivery = delivery(1);
    delivery.message.headers.group = embed.chord.is_some().then(|| "inner".into());
    let arguments = Arguments { embed, ..Arguments::default() };
    delivery.message.body = body::encode(&arguments, Serializer::Json, None).unwrap();
    let ended = Ended { delivery: Arc::new(delivery), end, additions };
    workflow().after(&ended, NOW).unwrap()
}

fn failed() -> End {
    let exception = crate::finish::exception("ValueError", None, "bad");
    End::Failure(Fault { state: State::Failure, exception, traceback: None })
}

fn results(consequences: &Consequences) -> Vec<&str> {
    consequences.results.iter().map(|result| result.record.task_id.as_str()).collect()
}

fn sent(consequences: &Consequences) -> Vec<&str> {
    let ids = consequences.publication.messages.iter().map(|publish| publish.message.headers.id.as_ref());
    ids.flatten().map(TaskId::as_str).collect()
}

fn closing(part: &ChordPart) -> &Consequences {
    let Closing::Known(closing) = &part.closing else { panic!("known: {part:?}") };
    closing
}

#[test]
fn a_success_sends_the_last_of_the_chain_and_leaves_the_rest_to_it() {
    let embed = Embed { chain: vec![call("c"), call("b")], ..Embed::default() };
    let sequel = sequel(End::Success(Value::Int(1)), embed);
    assert_eq!(sent(&sequel.consequences), ["b"]);
    let next = body::decode(&sequel.consequences.publication.messages[0].message).unwrap();
    assert_eq!(next.args, [Value::Int(1)]);
    assert_eq!(next.embed.chain.len(), 1);
    assert_eq!(sequel.children.len(), 1);
}

#[test]
fn a_success_asks_whether_it_completes_its_chord() {
    let embed = Embed { chord: Some(Box::new(call("body"))), ..Embed::default() };
    let sequel = sequel(End::Success(Value::Int(1)), embed);
    let [part] = &sequel.consequences.parts[..] else { panic!("one part") };
    assert!(matches!(part.closing, Closing::Ask));
    assert_eq!((part.chord.as_str(), &part.result), ("inner", &Value::Int(1)));
}

/// With the report, so that neither happens twice if the end is made durable again.
#[test]
fn a_success_adds_to_its_chord_with_its_report() {
    let embed = Embed { chord: Some(Box::new(call("body"))), ..Embed::default() };
    let group = shape::group_of(vec![call("b"), call("c")]);
    let sequel = sequel_with(End::Success(Value::Int(1)), embed, vec![call("a"), group]);
    assert_eq!(sequel.consequences.parts[0].adds, 3);
    assert_eq!(sequel.consequences.publication.extended, []);
    assert_eq!(sent(&sequel.consequences), ["a", "b", "c"]);
}

#[test]
fn a_failure_falls_on_the_steps_after_it_the_nearest_first() {
    let group = shape::group_of(vec![call("g1"), call("g2")]);
    let embed = Embed { chain: vec![group, call("b")], ..Embed::default() };
    let sequel = sequel(failed(), embed);
    assert_eq!(results(&sequel.consequences), ["b", "g1", "g2"]);
    assert!(sequel.consequences.publication.messages.is_empty());
}

#[test]
fn a_failure_closes_the_chord_and_those_around_it() {
    let mut body = in_outer(call("body"));
    shape::append_option(&mut body, "link_error", &call("errback"));
    let embed = Embed { chord: Some(Box::new(body)), ..Embed::default() };
    let sequel = sequel(failed(), embed);
    let inner = closing(&sequel.consequences.parts[0]);
    assert_eq!((results(inner), sent(inner)), (vec!["body"], vec!["errback"]));
    let outer = closing(&inner.parts[0]);
    assert_eq!(inner.parts[0].chord.as_str(), "outer");
    assert_eq!(results(outer), ["outer-body"]);
    let error = celeriac_protocol::TaskException::from_value(&outer.results[0].record.result).unwrap();
    assert!(error.message().contains("Dependency body raised ChordError("), "{error}");
}

#[test]
fn a_chord_hears_once_of_many_members_that_fall_together() {
    let group = shape::group_of(vec![in_outer(call("g1")), in_outer(call("g2"))]);
    let sequel = sequel(failed(), Embed { chain: vec![group], ..Embed::default() });
    assert_eq!(sequel.consequences.parts.len(), 1);
}

#[test]
fn a_chord_that_never_begins_fails_with_all_its_members() {
    let mut chord = Signature::new("celery.chord");
    chord.subtask_type = Some("chord".into());
    let header = shape::group_of(vec![call("h1"), call("h2")]);
    shape::set_kwarg(&mut chord, "header", header.into_value());
    shape::set_kwarg(&mut chord, "body", in_outer(call("body")).into_value());
    let sequel = sequel(failed(), Embed { chain: vec![chord], ..Embed::default() });
    assert_eq!(results(&sequel.consequences), ["h1", "h2", "body"]);
    assert_eq!(sequel.consequences.parts[0].chord.as_str(), "outer");
}

#[test]
fn what_was_to_follow_and_cannot_be_read_is_an_error() {
    let embed = Embed { other: vec![("chain".into(), Value::Int(3))], ..Embed::default() };
    let mut delivery = delivery(1);
    let arguments = Arguments { embed, ..Arguments::default() };
    delivery.message.body = body::encode(&arguments, Serializer::Json, None).unwrap();
    let end = End::Success(Value::Null);
    let ended = Ended { delivery: Arc::new(delivery), end, additions: Vec::new() };
    assert!(workflow().after(&ended, NOW).unwrap_err().message.contains("chain"));
}

#[test]
fn a_body_that_only_may_hold_what_follows_is_found_to_hold_nothing() {
    let mut delivery = delivery(1);
    delivery.message.body = b"[[], {}]".to_vec().into();
    assert!(may_follow(&delivery.message), "nobody has decoded it");
    let end = End::Success(Value::Null);
    let ended = Ended { delivery: Arc::new(delivery), end, additions: Vec::new() };
    let Sequel { consequences, children } = workflow().after(&ended, NOW).unwrap();
    assert!(consequences.is_empty() && children.is_empty());
}
