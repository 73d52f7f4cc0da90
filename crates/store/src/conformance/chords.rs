//! What the counting of chords promises.

use std::time::Duration;

use celeriac_protocol::{GroupId, State, TaskId, Value};

use super::StoreUnderTest;
use super::subject::{LEASE, LIMIT, MOMENT, message, publish, queue_of, result};
use crate::{Chord, ChordPart, ChordProgress, Closing, Consequences, Counted, Error, NewChord};

/// How long chords are kept here, unless a law says else.
const LIFE: Duration = LEASE.saturating_mul(100);

pub(super) fn group(id: &str) -> GroupId {
    GroupId::new(id)
}

pub(super) fn new_chord(id: &str, size: u64) -> NewChord {
    NewChord { id: group(id), size, expires_after: LIFE }
}

pub(super) async fn begin(store: &StoreUnderTest, id: &str, size: u64) {
    store.groups().begin(vec![new_chord(id, size)]).await.unwrap();
}

/// What a chord waits for, told in both ways.
pub(super) async fn chord(store: &StoreUnderTest, id: &str) -> Option<Chord> {
    let chord = store.groups().chord(&group(id)).await.unwrap();
    let counts = |chord: &Chord| ChordProgress { size: chord.size, reported: chord.parts.len() as u64 };
    assert_eq!(store.groups().progress(&group(id)).await.unwrap(), chord.as_ref().map(counts));
    chord
}

/// A member that returned its name, and does not know the body.
pub(super) fn success(chord: &str, member: &str) -> ChordPart {
    ChordPart {
        chord: group(chord),
        member: TaskId::new(member),
        index: None,
        state: State::Success,
        result: Value::from(member),
        adds: 0,
        expires_after: LIFE,
        closing: Closing::Ask,
    }
}

/// A member that failed, with what that closes.
pub(super) fn failure(chord: &str, member: &str, closing: Consequences) -> ChordPart {
    ChordPart { state: State::Failure, result: Value::Null, ..closing_with(success(chord, member), closing) }
}

pub(super) fn closing_with(part: ChordPart, closing: Consequences) -> ChordPart {
    ChordPart { closing: Closing::Known(Box::new(closing)), ..part }
}

/// The body of a chord, published.
pub(super) fn body(id: &str) -> Consequences {
    Consequences {
        publication: vec![publish(&queue_of("bodies"), message(id))].into(),
        ..Consequences::default()
    }
}

/// The result of the body of a chord that failed.
pub(super) fn body_failed(id: &str) -> Consequences {
    Consequences { results: vec![result(id, State::Failure)], ..Consequences::default() }
}

pub(super) async fn count(store: &StoreUnderTest, part: ChordPart) -> Counted {
    let counted = store.groups().count(vec![part]).await.unwrap();
    assert_eq!(counted.len(), 1, "one answer for one part");
    counted[0]
}

/// Who has reported to a chord that is open, in the order told.
pub(super) async fn members(store: &StoreUnderTest, id: &str) -> Vec<String> {
    let chord = chord(store, id).await.expect("an open chord");
    chord.parts.iter().map(|part| part.member.to_string()).collect()
}

/// A chord tells how many members it waits for and what has been reported.
pub async fn a_chord_tells_what_it_waits_for(store: &StoreUnderTest) {
    assert_eq!(chord(store, "c").await, None);
    begin(store, "c", 3).await;
    assert_eq!(chord(store, "c").await, Some(Chord { size: Some(3), parts: Vec::new() }));
    let part = ChordPart { index: Some(2), result: Value::Int(7), ..success("c", "a") };
    assert_eq!(count(store, part).await, Counted::Open);
    let chord = chord(store, "c").await.unwrap();
    let told = &chord.parts[0];
    assert_eq!((chord.size, chord.parts.len()), (Some(3), 1));
    assert_eq!((told.member.as_str(), told.index), ("a", Some(2)));
    assert_eq!((&told.state, &told.result), (&State::Success, &Value::Int(7)));
}

/// What a member reports again changes nothing, whatever it is.
pub async fn each_member_counts_once(store: &StoreUnderTest) {
    begin(store, "c", 2).await;
    assert_eq!(count(store, success("c", "a")).await, Counted::Open);
    let again = ChordPart { result: Value::Int(2), ..success("c", "a") };
    assert_eq!(count(store, again).await, Counted::Over);
    assert_eq!(count(store, failure("c", "a", body_failed("body"))).await, Counted::Over);
    assert_eq!(chord(store, "c").await.unwrap().parts[0].result, Value::from("a"));
    assert_eq!(store.state_of("body").await, None);
    let parts = vec![success("other", "a"), success("c", "a"), success("other", "a")];
    let counted = store.groups().count(parts).await.unwrap();
    assert_eq!(counted, [Counted::Open, Counted::Over, Counted::Over]);
}

/// One call may stand at two places of a header: it counts at each of them, once.
pub async fn a_call_at_two_places_counts_at_both(store: &StoreUnderTest) {
    use Counted::{Last, Open, Over};
    begin(store, "c", 3).await;
    let at = |index| ChordPart { index: Some(index), ..success("c", "a") };
    let parts = vec![at(0), at(1), at(0), at(1), closing_with(success("c", "b"), Consequences::default())];
    let expected = [Open, Open, Over, Over, Last];
    assert_eq!(store.groups().foresee(&parts).await.unwrap(), expected);
    assert_eq!(store.groups().count(parts[..4].to_vec()).await.unwrap(), expected[..4]);
    let places: Vec<_> = chord(store, "c").await.unwrap().parts.iter().map(|part| part.index).collect();
    assert_eq!(places, [Some(0), Some(1)]);
    assert_eq!(count(store, parts[4].clone()).await, Last);
}

/// The last success is not counted before it knows what it closes; then it closes the chord, which is gone.
pub async fn the_last_success_closes_its_chord(store: &StoreUnderTest) {
    begin(store, "c", 2).await;
    assert_eq!(count(store, success("c", "a")).await, Counted::Open);
    for _ in 0..2 {
        assert_eq!(count(store, success("c", "b")).await, Counted::Last);
        assert_eq!(members(store, "c").await, ["a"]);
    }
    let last = closing_with(success("c", "b"), body_failed("known"));
    assert_eq!(count(store, last.clone()).await, Counted::Last);
    assert_eq!(store.state_of("known").await, Some(State::Failure), "closing stores results");
    assert_eq!(chord(store, "c").await, None);
    assert_eq!(count(store, last).await, Counted::Over);
    assert_eq!(count(store, success("c", "c")).await, Counted::Over);
}

/// The first failure closes a chord, without waiting for others; what they report later changes nothing.
pub async fn the_first_failure_closes_its_chord(store: &StoreUnderTest) {
    begin(store, "c", 3).await;
    assert_eq!(count(store, success("c", "a")).await, Counted::Open);
    assert_eq!(count(store, failure("c", "b", body_failed("first"))).await, Counted::Failed);
    assert_eq!(chord(store, "c").await, None);
    assert_eq!(count(store, failure("c", "c", body_failed("second"))).await, Counted::Over);
    assert_eq!(count(store, success("c", "d")).await, Counted::Over);
    assert_eq!(store.state_of("first").await, Some(State::Failure));
    assert_eq!(store.state_of("second").await, None, "a closing happens once");
}

/// A failure that does not know what it closes is not counted either.
pub async fn a_failure_may_ask_too(store: &StoreUnderTest) {
    begin(store, "c", 2).await;
    let unknown = ChordPart { closing: Closing::Ask, ..failure("c", "a", body("never")) };
    assert_eq!(count(store, unknown).await, Counted::Failed);
    assert_eq!(members(store, "c").await, Vec::<String>::new());
}

/// A closing of a part that closes nothing does not happen.
pub async fn a_part_that_closes_nothing_brings_nothing(store: &StoreUnderTest) {
    begin(store, "c", 2).await;
    let early = closing_with(success("c", "a"), body_failed("early"));
    assert_eq!(count(store, early).await, Counted::Open);
    assert_eq!(store.state_of("early").await, None);
}

/// Foreseeing answers what counting would, part for part, and counts nothing.
pub async fn foreseeing_counts_nothing(store: &StoreUnderTest) {
    use Counted::{Failed, Last, Open, Over};
    begin(store, "c", 3).await;
    begin(store, "d", 2).await;
    count(store, success("c", "a")).await;
    let parts = vec![
        success("c", "a"),
        success("c", "b"),
        success("c", "b"),
        success("c", "asks"),
        closing_with(success("c", "knows"), Consequences::default()),
        success("c", "late"),
        failure("d", "a", body_failed("body of d")),
        failure("d", "b", Consequences::default()),
        success("unknown", "a"),
    ];
    let expected = [Over, Open, Over, Last, Last, Over, Failed, Over, Open];
    for _ in 0..2 {
        assert_eq!(store.groups().foresee(&parts).await.unwrap(), expected);
    }
    assert_eq!(members(store, "c").await, ["a"]);
    assert_eq!(chord(store, "unknown").await, None);
    assert_eq!(store.state_of("body of d").await, None);
    assert_eq!(store.groups().count(parts).await.unwrap(), expected);
    assert_eq!((chord(store, "c").await, chord(store, "d").await), (None, None));
}

/// Members may report before their chord begins; it counts them, and the next one closes it.
pub async fn members_may_report_before_their_chord_begins(store: &StoreUnderTest) {
    for member in ["a", "b"] {
        let early = closing_with(success("c", member), body_failed("never"));
        assert_eq!(count(store, early).await, Counted::Open);
    }
    assert_eq!(chord(store, "c").await.map(|chord| chord.size), Some(None));
    begin(store, "c", 3).await;
    assert_eq!(members(store, "c").await, ["a", "b"]);
    assert_eq!(count(store, success("c", "a")).await, Counted::Over);
    assert_eq!(count(store, success("c", "c")).await, Counted::Last);
    assert_eq!(store.state_of("never").await, None);
}

/// A failure from before the chord had a size is told to the next report.
pub async fn an_early_failure_closes_its_chord_later(store: &StoreUnderTest) {
    let early = failure("c", "a", body_failed("never"));
    assert_eq!(count(store, early).await, Counted::Open);
    begin(store, "c", 3).await;
    assert_eq!(count(store, success("c", "b")).await, Counted::Failed);
    let states: Vec<State> =
        chord(store, "c").await.unwrap().parts.into_iter().map(|part| part.state).collect();
    assert_eq!(states, [State::Failure]);
    let closing = closing_with(success("c", "b"), body_failed("body"));
    assert_eq!(count(store, closing).await, Counted::Failed);
    assert_eq!(store.state_of("body").await, Some(State::Failure));
    assert_eq!(store.state_of("never").await, None);
}

/// Beginning an open chord again, as a repeated call does, keeps what it has counted and what it was extended by.
pub async fn an_open_chord_that_begins_again_counts_on(store: &StoreUnderTest) {
    begin(store, "c", 2).await;
    store.groups().extend(vec![(group("c"), 1)]).await.unwrap();
    count(store, success("c", "a")).await;
    begin(store, "c", 2).await;
    assert_eq!(members(store, "c").await, ["a"]);
    assert_eq!(chord(store, "c").await.unwrap().size, Some(3));
    assert_eq!(count(store, success("c", "a")).await, Counted::Over);
}

/// A closed chord begins anew: its members count again.
pub async fn a_closed_chord_begins_anew(store: &StoreUnderTest) {
    for run in ["first", "second"] {
        begin(store, "c", 2).await;
        assert_eq!(members(store, "c").await, Vec::<String>::new());
        assert_eq!(count(store, success("c", "a")).await, Counted::Open);
        assert_eq!(count(store, success("c", "a")).await, Counted::Over);
        let last = closing_with(success("c", "b"), body_failed(run));
        assert_eq!(count(store, last).await, Counted::Last);
        assert_eq!(store.state_of(run).await, Some(State::Failure));
    }
}

/// A chord that was extended waits for that many more; one that is closed or unknown stays so.
pub async fn an_extended_chord_waits_for_more(store: &StoreUnderTest) {
    begin(store, "c", 2).await;
    count(store, success("c", "a")).await;
    store.groups().extend(vec![(group("c"), 1), (group("unknown"), 1), (group("c"), 1)]).await.unwrap();
    assert_eq!(chord(store, "c").await.unwrap().size, Some(4));
    assert_eq!(chord(store, "unknown").await, None);
    assert_eq!(count(store, success("c", "b")).await, Counted::Open);
    assert_eq!(count(store, success("c", "c")).await, Counted::Open);
    let last = closing_with(success("c", "d"), Consequences::default());
    assert_eq!(count(store, last).await, Counted::Last);
    store.groups().extend(vec![(group("c"), 1)]).await.unwrap();
    assert_eq!(chord(store, "c").await, None);
    assert_eq!(count(store, success("c", "e")).await, Counted::Over);
}

/// What a member adds to its chord is added once, with its report: if that changes nothing, neither does this.
pub async fn a_member_adds_to_its_chord_once(store: &StoreUnderTest) {
    use Counted::{Last, Open, Over};
    begin(store, "c", 1).await;
    let adds = |member, adds| ChordPart { adds, ..success("c", member) };
    let last = closing_with(success("c", "d"), Consequences::default());
    let parts = vec![adds("a", 1), adds("a", 1), adds("b", 2), success("c", "c"), adds("c", 1), last];
    let expected = [Open, Over, Open, Open, Over, Last];
    assert_eq!(store.groups().foresee(&parts).await.unwrap(), expected);
    assert_eq!(store.groups().count(parts[..5].to_vec()).await.unwrap(), expected[..5]);
    assert_eq!(chord(store, "c").await.unwrap().size, Some(4));
    assert_eq!(count(store, parts[5].clone()).await, Last);
    assert_eq!(chord(store, "c").await, None);
}

/// Reports are told in the order of their places, those without one last, and equals by the ids of the members.
pub async fn reports_come_in_the_order_of_their_places(store: &StoreUnderTest) {
    begin(store, "c", 100).await;
    let reports = [
        ("d", Some(10)),
        ("b", None),
        ("f", Some(2)),
        ("e", Some(2)),
        ("c", Some(0)),
        ("a", None),
        ("g", Some(9)),
    ];
    for (member, index) in reports {
        count(store, ChordPart { index, ..success("c", member) }).await;
    }
    assert_eq!(members(store, "c").await, ["c", "e", "f", "g", "d", "a", "b"]);
}

/// A chord is kept as long as it was told when a member last reported; then nothing is left of it.
pub async fn a_chord_expires(store: &StoreUnderTest) {
    let short = NewChord { expires_after: LEASE, ..new_chord("c", 3) };
    store.groups().begin(vec![short.clone(), NewChord { id: group("lonely"), ..short }]).await.unwrap();
    store.advance(LEASE / 2).await;
    let report = |member| ChordPart { expires_after: LEASE, ..success("c", member) };
    count(store, report("a")).await;
    store.advance(LEASE / 2 + MOMENT).await;
    assert_eq!(chord(store, "lonely").await, None);
    assert_eq!(members(store, "c").await, ["a"]);
    store.advance(LEASE).await;
    assert_eq!(chord(store, "c").await, None);
    // What reports now finds nothing, and is no last one of the old count.
    assert_eq!(count(store, report("a")).await, Counted::Open);
    assert_eq!(chord(store, "c").await.map(|chord| (chord.size, chord.parts.len())), Some((None, 1)));
    store.advance(LEASE + MOMENT).await;
    assert_eq!(chord(store, "c").await, None);
}

/// A closed chord is remembered for as long as its last report said, and no longer.
pub async fn a_closed_chord_is_forgotten_in_the_end(store: &StoreUnderTest) {
    begin(store, "c", 2).await;
    let failed = ChordPart { expires_after: LEASE, ..failure("c", "a", body_failed("body")) };
    assert_eq!(count(store, failed).await, Counted::Failed);
    store.advance(LEASE / 2).await;
    assert_eq!(count(store, success("c", "b")).await, Counted::Over);
    store.advance(LEASE + MOMENT).await;
    assert_eq!(count(store, success("c", "b")).await, Counted::Open);
}

/// A part that closes a chord may close an outer one with it, and that one another.
pub async fn a_closing_reaches_outer_chords(store: &StoreUnderTest) {
    for id in ["inner", "middle", "outer"] {
        begin(store, id, 3).await;
    }
    let outer = body_failed("body of outer");
    let middle = Consequences {
        parts: vec![failure("outer", "body of middle", outer)],
        ..body_failed("body of middle")
    };
    let inner = Consequences {
        parts: vec![failure("middle", "body of inner", middle)],
        ..body_failed("body of inner")
    };
    assert_eq!(count(store, failure("inner", "a", inner)).await, Counted::Failed);
    for id in ["inner", "middle", "outer"] {
        assert_eq!(chord(store, id).await, None, "{id}");
        assert_eq!(store.state_of(&format!("body of {id}")).await, Some(State::Failure));
    }
}

/// What closings publish is the business of whoever counts: nothing is published, no chord begins, no group is saved.
pub async fn counting_publishes_nothing(store: &StoreUnderTest) {
    begin(store, "c", 1).await;
    let mut closing = body("body");
    closing.publication.chords.push(new_chord("next", 2));
    assert_eq!(count(store, closing_with(success("c", "a"), closing)).await, Counted::Last);
    assert_eq!(store.stats(&queue_of("bodies")).await.ready, 0);
    assert_eq!(chord(store, "next").await, None);
}

/// One result over the limit, in a part or in what it closes, and none of that call counts.
pub async fn a_part_over_the_limit_counts_nothing(store: &StoreUnderTest) {
    begin(store, "c", 3).await;
    let large = || Value::from("x".repeat(LIMIT + 1).as_str());
    let part = ChordPart { result: large(), ..success("c", "large") };
    let mut closing = body_failed("large");
    closing.results[0].record.result = large();
    for bad in [part, closing_with(success("c", "large"), closing)] {
        let refused = store.groups().count(vec![success("c", "a"), bad]).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        assert_eq!(members(store, "c").await, Vec::<String>::new());
    }
}

/// A chord and its reports may be kept for ever.
pub async fn a_chord_may_be_kept_for_ever(store: &StoreUnderTest) {
    let endless = NewChord { expires_after: Duration::MAX, ..new_chord("c", 2) };
    store.groups().begin(vec![endless]).await.unwrap();
    count(store, ChordPart { expires_after: Duration::MAX, ..success("c", "a") }).await;
    store.advance(LEASE * 100_000).await;
    assert_eq!(members(store, "c").await, ["a"]);
}
