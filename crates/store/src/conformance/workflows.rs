//! What finishes and publications with workflows promise.

use celeriac_protocol::{State, TaskId, Value};

use super::chords::{
    begin, body, body_failed, chord, closing_with, failure, group, members, new_chord, success,
};
use super::consuming::{ids, settling};
use super::subject::{
    LEASE, consume_options, message, oversized_message, publish, queue, queue_of, result, within,
};
use super::{Consuming, StoreUnderTest};
use crate::{
    ChordPart, ConnectOptions, Consequences, Delivery, Error, Finish, Publication, SavedGroup, Settle,
    Settled, Store, connect,
};

/// The end of a task that returned, with what it brings about.
fn ending(delivery: &Delivery, workflow: Consequences) -> Finish {
    Finish {
        result: Some(result(ids(std::slice::from_ref(delivery))[0], State::Success)),
        follow_ups: vec![publish(&queue_of("next"), message("follow-up"))],
        workflow: Some(Box::new(workflow)),
        ..settling(delivery.tag, Settle::Ack)
    }
}

fn parts(parts: Vec<ChordPart>) -> Consequences {
    Consequences { parts, ..Consequences::default() }
}

fn id(delivery: &Delivery) -> &str {
    ids(std::slice::from_ref(delivery))[0]
}

/// A member of the chord `c` that returned, and asks.
fn asking(delivery: &Delivery) -> Finish {
    ending(delivery, parts(vec![success("c", id(delivery))]))
}

/// A member of the chord `c` that returned, and knows the body.
fn knowing(delivery: &Delivery) -> Finish {
    ending(delivery, parts(vec![closing_with(success("c", id(delivery)), body("body of c"))]))
}

/// How many messages wait in the queue of bodies.
async fn bodies(store: &StoreUnderTest) -> u64 {
    store.stats(&queue_of("bodies")).await.ready
}

/// Publishes the header of the chord `c`, and begins it.
async fn publish_header(store: &StoreUnderTest, members: &[&str]) {
    let messages = members.iter().map(|id| publish(&queue(), message(id))).collect();
    let chords = vec![new_chord("c", members.len() as u64)];
    store.broker().publish(Publication { messages, chords, ..Publication::default() }).await.unwrap();
}

async fn take(store: &StoreUnderTest, count: usize) -> (Consuming, Vec<Delivery>) {
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    let deliveries = consuming.several(count).await;
    (consuming, deliveries)
}

/// A publication begins and extends chords, saves groups and publishes messages.
pub async fn a_publication_does_all_its_parts(store: &StoreUnderTest) {
    let saved = SavedGroup { id: group("g"), result: Value::Int(1), expires_after: LEASE };
    let all = Publication {
        messages: vec![publish(&queue(), message("a"))],
        chords: vec![new_chord("c", 2)],
        extended: vec![(group("c"), 1)],
        groups: vec![saved],
    };
    store.broker().publish(all.clone()).await.unwrap();
    let without_messages = Publication { messages: Vec::new(), ..all };
    store.broker().publish(without_messages).await.unwrap();
    assert_eq!(chord(store, "c").await.unwrap().size, Some(4));
    assert_eq!(store.groups().restore(&[group("g")]).await.unwrap(), [Some(Value::Int(1))]);
    assert_eq!(store.stats(&queue()).await.ready, 1);
}

/// Whoever takes the first member of a header finds its chord begun.
pub async fn a_chord_begins_with_its_header(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let mut consuming =
        Consuming::new(elsewhere.broker().consume(consume_options(&[&queue()])).await.unwrap());
    for run in 0..20 {
        let id = format!("{run}");
        let publication = Publication {
            messages: vec![publish(&queue(), message(&id))],
            chords: vec![new_chord(&id, 1)],
            ..Publication::default()
        };
        let broker = store.store().broker().clone();
        let published = tokio::spawn(async move { broker.publish(publication).await });
        let delivery = consuming.one().await;
        let chord = elsewhere.groups().chord(&group(&id)).await.unwrap();
        assert_eq!(chord.and_then(|chord| chord.size), Some(1));
        consuming.ack(&delivery).await;
        published.await.unwrap().unwrap();
    }
}

/// One message over the limit, and a publication does nothing at all.
pub async fn a_refused_publication_begins_nothing(store: &StoreUnderTest) {
    let refused = Publication {
        messages: vec![publish(&queue(), oversized_message("large"))],
        chords: vec![new_chord("c", 1)],
        groups: vec![SavedGroup { id: group("g"), result: Value::Null, expires_after: LEASE }],
        ..Publication::default()
    };
    let refused = store.broker().publish(refused).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!(chord(store, "c").await, None);
    assert_eq!(store.groups().restore(&[group("g")]).await.unwrap(), [None]);
}

/// A finish does what it brings about, its messages after the follow-ups.
pub async fn a_finish_brings_about_its_consequences(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let (consuming, taken) = take(store, 1).await;
    let mut workflow = Consequences {
        results: vec![result("never runs", State::Revoked)],
        parts: vec![success("c", "a")],
        ..Consequences::default()
    };
    let messages = ["step", "other step"].map(|id| publish(&queue_of("next"), message(id)));
    workflow.publication = Publication {
        messages: messages.to_vec(),
        chords: vec![new_chord("c", 1)],
        extended: vec![(group("c"), 1)],
        groups: vec![SavedGroup { id: group("g"), result: Value::Int(1), expires_after: LEASE }],
    };
    assert_eq!(consuming.finish(ending(&taken[0], workflow)).await, Settled::Done);
    assert_eq!(members(store, "c").await, ["a"], "chords begin and are extended before their parts count");
    assert_eq!(store.state_of("never runs").await, Some(State::Revoked));
    assert_eq!(store.groups().restore(&[group("g")]).await.unwrap(), [Some(Value::Int(1))]);
    let next = store.consume(&[&queue_of("next")]).await.several(3).await;
    assert_eq!(ids(&next), ["follow-up", "step", "other step"]);
}

/// The last success completes its chord: nothing of that finish takes effect before it comes again with the body, which
/// is published once.
pub async fn the_last_member_comes_twice_with_the_body(store: &StoreUnderTest) {
    publish_header(store, &["a", "b"]).await;
    let (consuming, taken) = take(store, 2).await;
    assert_eq!(consuming.finish(asking(&taken[0])).await, Settled::Done);
    for _ in 0..2 {
        assert_eq!(consuming.finish(asking(&taken[1])).await, Settled::Completes);
        assert_eq!(store.state_of("b").await, None);
        assert_eq!(store.stats(&queue_of("next")).await.ready, 1);
        assert_eq!(members(store, "c").await, ["a"]);
    }
    assert_eq!(consuming.finish(knowing(&taken[1])).await, Settled::Done);
    assert_eq!(consuming.finish(knowing(&taken[1])).await, Settled::Lost);
    assert_eq!(store.state_of("b").await, Some(State::Success));
    assert_eq!((bodies(store).await, store.stats(&queue_of("next")).await.ready), (1, 2));
    assert_eq!(chord(store, "c").await, None);
    consuming.settler.close().await.unwrap();
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// A delivery that completes its chord stays lent: closing its consumer gives it back.
pub async fn what_completes_a_chord_is_still_ours(store: &StoreUnderTest) {
    publish_header(store, &["a"]).await;
    let (consuming, taken) = take(store, 1).await;
    assert_eq!(consuming.finish(asking(&taken[0])).await, Settled::Completes);
    consuming.settler.close().await.unwrap();
    assert_eq!(store.stats(&queue()).await.ready, 1);
    assert_eq!(consuming.finish(asking(&taken[0])).await, Settled::Lost);
}

/// A member that is delivered again after it has counted changes nothing but its own result.
pub async fn a_member_that_runs_again_counts_once(store: &StoreUnderTest) {
    publish_header(store, &["a", "b", "c"]).await;
    let (consuming, taken) = take(store, 3).await;
    for again in [false, true, true] {
        let early = Finish { delivery: None, ..asking(&taken[0]) };
        assert_eq!(consuming.finish(early).await, Settled::Done, "again: {again}");
        assert_eq!(members(store, "c").await, ["a"]);
    }
    assert_eq!(consuming.finish(asking(&taken[1])).await, Settled::Done);
    assert_eq!(consuming.finish(knowing(&taken[2])).await, Settled::Done);
    assert_eq!(consuming.finish(Finish { delivery: None, ..knowing(&taken[2]) }).await, Settled::Done);
    assert_eq!(consuming.finish(knowing(&taken[0])).await, Settled::Done);
    assert_eq!(bodies(store).await, 1);
}

/// The success of a plain member of the chord `c`, at a place of its own.
fn plain(delivery: &Delivery, place: i64) -> Finish {
    let result = result(id(delivery), State::Success);
    let expires_after = result.expires_after;
    let part = ChordPart { index: Some(place), expires_after, ..success("c", id(delivery)) };
    Finish {
        result: Some(result),
        workflow: Some(Box::new(parts(vec![part]))),
        ..settling(delivery.tag, Settle::Ack)
    }
}

/// Members that succeed at the same time count as they do one after the other.
pub async fn members_may_finish_together(store: &StoreUnderTest) {
    // One of them is called from two places.
    publish_header(store, &["a", "b", "b", "c", "d", "e", "f"]).await;
    let (consuming, taken) = take(store, 7).await;
    let finish = |finishes| consuming.settler.finish(finishes);
    let at = |place: usize| plain(&taken[place], place as i64);
    // One has counted before, and one is lost.
    let early = Finish { delivery: None, ..at(0) };
    assert_eq!(finish(vec![early]).await.unwrap(), [Settled::Done]);
    consuming.ack(&taken[3]).await;
    let settled = finish((0..5).map(at).collect()).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Done, Settled::Done, Settled::Lost, Settled::Done]);
    assert_eq!(members(store, "c").await, ["a", "b", "b", "d"]);
    assert_eq!(store.state_of("d").await, Some(State::Success));
    assert_eq!(store.state_of("c").await, None);
    // The same one twice in one step.
    let again = Finish { delivery: None, ..at(5) };
    assert_eq!(finish(vec![again, at(5)]).await.unwrap(), [Settled::Done, Settled::Done]);
    assert_eq!(members(store, "c").await, ["a", "b", "b", "d", "e"]);
    // The last but one, and the last, which asks.
    let lost = Finish { delivery: None, ..at(3) };
    assert_eq!(finish(vec![at(6), lost]).await.unwrap(), [Settled::Done, Settled::Completes]);
    assert_eq!(members(store, "c").await, ["a", "b", "b", "d", "e", "f"]);
    assert_eq!(consuming.finish(Finish { delivery: None, ..knowing(&taken[3]) }).await, Settled::Done);
    assert_eq!((chord(store, "c").await, bodies(store).await), (None, 1));
}

/// Finishes of every form may come in one step, in any order.
pub async fn members_may_finish_among_others(store: &StoreUnderTest) {
    publish_header(store, &["a", "b", "c", "d"]).await;
    let others = ["e", "f", "g", "h"].map(|id| publish(&queue(), message(id)));
    store.broker().publish(others.to_vec().into()).await.unwrap();
    let (consuming, taken) = take(store, 8).await;
    let member = |place: usize| plain(&taken[place], place as i64);
    let success = |place: usize| Finish { workflow: None, ..plain(&taken[place], 0) };
    let together = vec![
        member(0),
        success(4),
        ending(&taken[5], Consequences::default()),
        member(1),
        settling(taken[6].tag, Settle::Requeue),
        success(7),
        member(2),
        member(3),
    ];
    let settled = consuming.settler.finish(together).await.unwrap();
    assert_eq!(settled, [[Settled::Done; 7].as_slice(), &[Settled::Completes]].concat());
    assert_eq!(members(store, "c").await, ["a", "b", "c"]);
    for id in ["a", "b", "c", "e", "f", "h"] {
        assert_eq!(store.state_of(id).await, Some(State::Success), "{id}");
    }
    assert_eq!((store.stats(&queue()).await.ready, store.stats(&queue_of("next")).await.ready), (1, 1));
}

/// The last of members that succeed at the same time asks, whatever stands before and behind it.
pub async fn the_last_of_many_members_asks(store: &StoreUnderTest) {
    publish_header(store, &["a", "b", "c"]).await;
    let other = vec![publish(&queue(), message("d")), publish(&queue(), message("e"))];
    let chords = vec![new_chord("other", 3)];
    let publication = Publication { messages: other, chords, ..Publication::default() };
    store.broker().publish(publication).await.unwrap();
    let (consuming, taken) = take(store, 5).await;
    let of_other = |place: usize| {
        let mut finish = plain(&taken[place], place as i64);
        finish.workflow.as_mut().unwrap().parts[0].chord = group("other");
        finish
    };
    let of_c = |place: usize| plain(&taken[place], place as i64);
    let together = vec![of_c(0), of_c(1), of_other(3), of_c(2), of_other(4)];
    let settled = consuming.settler.finish(together).await.unwrap();
    let done = Settled::Done;
    assert_eq!(settled, [done, done, done, Settled::Completes, done]);
    assert_eq!(members(store, "c").await, ["a", "b"]);
    assert_eq!(members(store, "other").await, ["d", "e"]);
    assert_eq!(store.state_of("c").await, None);
    assert_eq!(consuming.finish(of_c(2)).await, Settled::Completes, "it is still ours");
    assert_eq!(consuming.finish(knowing(&taken[2])).await, done);
    assert_eq!(bodies(store).await, 1);
}

/// Nothing of what a lost delivery brings about happens.
pub async fn a_lost_member_counts_nothing(store: &StoreUnderTest) {
    publish_header(store, &["a", "b"]).await;
    let (consuming, taken) = take(store, 2).await;
    consuming.ack(&taken[0]).await;
    let mut lost = asking(&taken[0]);
    let workflow = lost.workflow.as_mut().unwrap();
    workflow.results.push(result("other", State::Failure));
    workflow.publication.chords.push(new_chord("next", 2));
    workflow.publication.messages.push(publish(&queue_of("next"), message("step")));
    assert_eq!(consuming.finish(lost).await, Settled::Lost);
    assert_eq!(members(store, "c").await, Vec::<String>::new());
    assert_eq!((store.state_of("other").await, chord(store, "next").await), (None, None));
    assert_eq!(store.stats(&queue_of("next")).await.ready, 0);
    // In one call with others, too, and not taken for one that counted.
    let answers = consuming.settler.finish(vec![asking(&taken[0]), asking(&taken[1])]).await.unwrap();
    assert_eq!(answers, [Settled::Lost, Settled::Done]);
}

/// The first member that fails closes its chord with all that this brings, and does it once.
pub async fn a_failed_member_closes_its_chord(store: &StoreUnderTest) {
    publish_header(store, &["a", "b", "c"]).await;
    let (consuming, taken) = take(store, 3).await;
    let failing = |delivery: &Delivery, body: &str| {
        let errback = publish(&queue_of("bodies"), message("errback"));
        let closing = Consequences { publication: vec![errback].into(), ..body_failed(body) };
        ending(delivery, parts(vec![failure("c", id(delivery), closing)]))
    };
    assert_eq!(consuming.finish(failing(&taken[0], "first")).await, Settled::Done);
    assert_eq!((store.state_of("first").await, bodies(store).await), (Some(State::Failure), 1));
    let answers = consuming.settler.finish(vec![failing(&taken[1], "second"), asking(&taken[2])]).await;
    assert_eq!(answers.unwrap(), [Settled::Done; 2]);
    assert_eq!((store.state_of("second").await, bodies(store).await), (None, 1));
    assert_eq!(store.state_of("c").await, Some(State::Success), "its own result is stored");
}

/// What closes an inner chord may close the chord that its body is a member of.
pub async fn a_failed_member_closes_outer_chords_too(store: &StoreUnderTest) {
    publish_header(store, &["a", "b"]).await;
    begin(store, "outer", 2).await;
    let (consuming, taken) = take(store, 2).await;
    let outer = Consequences { results: vec![result("body of outer", State::Failure)], ..body("errback") };
    let inner =
        Consequences { parts: vec![failure("outer", "body of c", outer)], ..body_failed("body of c") };
    let failing = ending(&taken[0], parts(vec![failure("c", "a", inner)]));
    assert_eq!(consuming.finish(failing).await, Settled::Done);
    assert_eq!((chord(store, "c").await, chord(store, "outer").await), (None, None));
    assert_eq!(store.state_of("body of outer").await, Some(State::Failure));
    assert_eq!(bodies(store).await, 1);
}

/// All members in one call: all but the last count, and the last completes their chord.
pub async fn a_whole_chord_may_finish_in_one_call(store: &StoreUnderTest) {
    const MANY: usize = 200;
    let names: Vec<String> = (0..MANY).map(|n| format!("{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    publish_header(store, &names).await;
    begin(store, "d", 2).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let mut taken = consuming.several(MANY).await;
    let mut finishes: Vec<Finish> = taken.iter().map(asking).collect();
    // Others in between change nothing, and neither does the order in which the tasks were taken.
    finishes.reverse();
    let other = ending(&taken[0], parts(vec![success("d", "x")]));
    finishes.insert(MANY / 2, Finish { delivery: None, ..other });
    let answers = consuming.settler.finish(finishes).await.unwrap();
    assert_eq!(answers[..MANY], [Settled::Done; MANY]);
    assert_eq!(answers[MANY], Settled::Completes);
    assert_eq!((members(store, "c").await.len(), members(store, "d").await.len()), (MANY - 1, 1));
    let first = taken.remove(0);
    assert_eq!(consuming.finish(knowing(&first)).await, Settled::Done);
    assert_eq!((chord(store, "c").await, bodies(store).await), (None, 1));
    consuming.settler.close().await.unwrap();
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// One end may be that of several members: a step that fails takes those along that were to come.
pub async fn one_finish_may_report_several_members(store: &StoreUnderTest) {
    publish_header(store, &["a"]).await;
    begin(store, "c", 3).await;
    begin(store, "d", 3).await;
    let (consuming, taken) = take(store, 1).await;
    let several = vec![
        failure("c", "x", body_failed("first")),
        failure("c", "y", body_failed("second")),
        success("d", "x"),
        success("d", "x"),
        success("d", "y"),
    ];
    assert_eq!(consuming.finish(ending(&taken[0], parts(several))).await, Settled::Done);
    assert_eq!((chord(store, "c").await, members(store, "d").await.len()), (None, 2));
    assert_eq!((store.state_of("first").await, store.state_of("second").await), (Some(State::Failure), None));
}

/// What completes one chord counts in no other before it comes again.
pub async fn a_finish_that_completes_a_chord_counts_in_no_other(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    begin(store, "c", 2).await;
    begin(store, "d", 2).await;
    let (consuming, taken) = take(store, 1).await;
    let asks = parts(vec![success("d", "x"), success("c", "x"), success("c", "y")]);
    assert_eq!(consuming.finish(ending(&taken[0], asks)).await, Settled::Completes);
    for id in ["c", "d"] {
        assert_eq!(members(store, id).await, Vec::<String>::new());
    }
    let last = closing_with(success("c", "y"), body("body of c"));
    let knows = parts(vec![success("d", "x"), success("c", "x"), last]);
    assert_eq!(consuming.finish(ending(&taken[0], knows)).await, Settled::Done);
    assert_eq!((members(store, "d").await.len(), chord(store, "c").await, bodies(store).await), (1, None, 1));
}

/// A closing that turns out not to be one does not happen: a chord that was extended meanwhile waits on.
pub async fn a_closing_that_comes_too_early_does_not_happen(store: &StoreUnderTest) {
    publish_header(store, &["a", "b"]).await;
    let (consuming, taken) = take(store, 2).await;
    assert_eq!(consuming.finish(asking(&taken[0])).await, Settled::Done);
    assert_eq!(consuming.finish(asking(&taken[1])).await, Settled::Completes);
    store.groups().extend(vec![(group("c"), 1)]).await.unwrap();
    assert_eq!(consuming.finish(knowing(&taken[1])).await, Settled::Done);
    assert_eq!((members(store, "c").await.len(), bodies(store).await), (2, 0));
}

/// One message over the limit in a closing, also one that would not happen, and no finish of that call has any effect.
pub async fn a_closing_over_the_limit_finishes_nothing(store: &StoreUnderTest) {
    publish_header(store, &["a", "b"]).await;
    let (consuming, taken) = take(store, 2).await;
    let large = Consequences {
        publication: vec![publish(&queue_of("bodies"), oversized_message("large"))].into(),
        ..Consequences::default()
    };
    let bad = ending(&taken[1], parts(vec![closing_with(success("c", "b"), large)]));
    let refused = consuming.settler.finish(vec![asking(&taken[0]), bad]).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!((members(store, "c").await.len(), store.state_of("a").await), (0, None));
    assert_eq!(consuming.finish(asking(&taken[0])).await, Settled::Done, "the delivery is still ours");
}

/// Many consumers finish the members of one chord at once: one of them closes it, and with all their results.
pub async fn one_of_many_consumers_closes_a_chord(store: &StoreUnderTest) {
    const MEMBERS: usize = 60;
    let names: Vec<String> = (0..MEMBERS).map(|n| format!("{n:02}")).collect();
    publish_header(store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut workers = Vec::new();
    for _ in 0..4 {
        workers.push(tokio::spawn(finish_members(store.elsewhere().await, MEMBERS / 4)));
    }
    let mut closed = 0;
    for worker in workers {
        closed += within("every member", worker).await.unwrap();
    }
    assert_eq!((closed, bodies(store).await, chord(store, "c").await), (1, 1, None));
}

/// Finishes this many members of the chord `c`, as a worker does. Says how many times it was told of the last one.
async fn finish_members(store: Store, count: usize) -> usize {
    let options = crate::ConsumeOptions { prefetch: count, ..consume_options(&[&queue()]) };
    let mut consuming = Consuming::new(store.broker().consume(options).await.unwrap());
    let mut closed = 0;
    for delivery in consuming.several(count).await {
        tokio::task::yield_now().await;
        match store.finish(&*consuming.settler, vec![asking(&delivery)]).await.unwrap()[..] {
            [Settled::Done] => {}
            [Settled::Completes] => {
                let chord = store.groups().chord(&group("c")).await.unwrap().expect("an open chord");
                assert_eq!(Some(chord.parts.len() as u64 + 1), chord.size);
                let again = store.finish(&*consuming.settler, vec![knowing(&delivery)]).await.unwrap();
                assert_eq!(again, [Settled::Done]);
                closed += 1;
            }
            ref other => panic!("{other:?}"),
        }
    }
    closed
}

/// Takes a chord through all of its life in this store.
async fn run_a_chord(store: &Store) {
    let chords = vec![new_chord("c", 2)];
    let messages = ["a", "b"].map(|id| publish(&queue(), message(id))).to_vec();
    store.publish(Publication { messages, chords, ..Publication::default() }).await.unwrap();
    let mut consuming = Consuming::new(store.broker().consume(consume_options(&[&queue()])).await.unwrap());
    let taken = consuming.several(2).await;
    let finish = async |finish| store.finish(&*consuming.settler, vec![finish]).await.unwrap()[0];
    let result = async |id| store.results().get(&[TaskId::new(id)]).await.unwrap()[0].clone();

    assert_eq!(finish(asking(&taken[0])).await, Settled::Done);
    assert_eq!(finish(asking(&taken[1])).await, Settled::Completes);
    assert_eq!(result("b").await, None);
    assert_eq!(finish(knowing(&taken[1])).await, Settled::Done);
    assert!(result("b").await.is_some());
    assert_eq!(store.groups().chord(&group("c")).await.unwrap(), None);
    let mut next = Consuming::new(
        store.broker().consume(consume_options(&[&queue_of("bodies"), &queue_of("next")])).await.unwrap(),
    );
    let mut next = ids(&next.several(3).await).into_iter().map(str::to_owned).collect::<Vec<_>>();
    next.sort_unstable();
    assert_eq!(next, ["body of c", "follow-up", "follow-up"]);
}

/// Lets a member fail whose chord is in another one, in this store.
async fn fail_a_chord(store: &Store) {
    let messages = vec![publish(&queue(), message("fails")), publish(&queue(), message("fails too"))];
    let chords = vec![new_chord("inner", 5), new_chord("outer", 2)];
    store.publish(Publication { messages, chords, ..Publication::default() }).await.unwrap();
    let mut consuming = Consuming::new(store.broker().consume(consume_options(&[&queue()])).await.unwrap());
    let failing = |delivery: &Delivery| {
        let outer = Consequences {
            publication: Publication {
                messages: vec![publish(&queue_of("errbacks"), message("errback"))],
                chords: vec![new_chord("chord of errbacks", 1)],
                ..Publication::default()
            },
            ..body_failed("body of outer")
        };
        let inner = Consequences {
            parts: vec![failure("outer", "body of inner", outer)],
            ..body_failed("body of inner")
        };
        ending(delivery, parts(vec![failure("inner", id(delivery), inner)]))
    };
    let finishes = consuming.several(2).await.iter().map(failing).collect();
    assert_eq!(store.finish(&*consuming.settler, finishes).await.unwrap(), [Settled::Done; 2]);
    let bodies = ["body of inner", "body of outer"].map(TaskId::from);
    assert!(store.results().get(&bodies).await.unwrap().iter().all(Option::is_some));
    assert_eq!(store.broker().queues(&[queue_of("errbacks")]).await.unwrap()[0].ready, 1);
    let chord = async |id| store.groups().chord(&group(id)).await.unwrap();
    assert_eq!((chord("inner").await, chord("outer").await), (None, None));
    assert_eq!(chord("chord of errbacks").await.and_then(|chord| chord.size), Some(1));
}

async fn memory() -> Store {
    connect(&format!("memory://{}", TaskId::fresh()), &ConnectOptions::default()).await.unwrap()
}

/// With results, groups and chords in another store, workflows go the same way.
pub async fn chords_may_be_kept_in_another_store(store: &StoreUnderTest) {
    for work in [true, false] {
        let both = store.store().clone().with_results(&memory().await);
        match work {
            true => run_a_chord(&both).await,
            false => fail_a_chord(&both).await,
        }
    }
    assert_eq!((chord(store, "c").await, store.state_of("b").await), (None, None));
}

/// A store may keep the results, groups and chords of another one's messages.
pub async fn chords_of_another_stores_messages_may_be_kept(store: &StoreUnderTest) {
    run_a_chord(&memory().await.with_results(store.store())).await;
    fail_a_chord(&memory().await.with_results(store.store())).await;
    assert_eq!(store.stats(&queue_of("bodies")).await.ready, 0);
}
