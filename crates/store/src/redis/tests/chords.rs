//! Chords beside workers of Celery, which are played here by the commands that they send. What they do is in
//! `celery/backends/redis.py`, 5.7.0 and 5.6.3.

use std::time::Duration;

use bytes::Bytes;
use celeriac_faults::Server;
use celeriac_protocol::{GroupId, State, Value};

use super::desk::{call, consume, done, fetch, id, ids, member, open, open_with, options, publish};
use crate::clock::Clock;
use crate::{
    ChordPart, Closing, Consequences, Counted, Delivery, NewChord, Publish, Reported, Revocation, Settled,
    Store,
};

const LIFE: Duration = Duration::from_secs(600);

fn chord() -> GroupId {
    GroupId::new("g")
}

fn key(ending: &str) -> String {
    format!("celery-taskset-meta-g{ending}")
}

/// A member's success, with what follows if it is the last.
fn part(id: &str, index: i64) -> ChordPart {
    ChordPart { result: Value::Int(index * 10), expires_after: LIFE, ..member("g", id, index) }
}

fn failure(member: &str, index: i64) -> ChordPart {
    ChordPart { state: State::Failure, ..part(member, index) }
}

async fn begin(store: &Store, size: u64) {
    let begins = NewChord { id: chord(), size, expires_after: LIFE };
    store.groups().begin(vec![begins]).await.unwrap();
}

async fn count(store: &Store, part: ChordPart) -> Counted {
    store.groups().count(vec![part]).await.unwrap()[0]
}

fn ask<T: redis::FromRedisValue>(server: &Server, command: &[&str]) -> T {
    let mut question = redis::cmd(command[0]);
    question.arg(&command[1..]).query(&mut server.connection()).unwrap()
}

/// A worker before 5.7 counts a success.
fn older_worker_counts(server: &Server, id: &str, index: &str, result: i64) {
    let record = format!(r#"[1, "{id}", "SUCCESS", {result}]"#);
    ask::<u64>(server, &["ZADD", &key(".j"), index, &record]);
}

#[tokio::test]
async fn what_members_report_is_kept_as_celery_keeps_it() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    begin(&store, 3).await;
    assert_eq!(count(&store, part("a", 0)).await, Counted::Open);
    assert_eq!(count(&store, ChordPart { index: None, ..part("b", 1) }).await, Counted::Open);
    let reported: Vec<(String, String)> = ask(&server, &["ZRANGE", &key(".j"), "0", "-1", "WITHSCORES"]);
    let expected = [(r#"[1, "a", "SUCCESS", 0]"#, "0"), (r#"[1, "b", "SUCCESS", 10]"#, "inf")];
    assert_eq!(reported, expected.map(|(record, place)| (record.to_owned(), place.to_owned())));
    let mut who: Vec<String> = ask(&server, &["SMEMBERS", &key(".d")]);
    who.sort_unstable();
    assert_eq!(who, ["a:0", "b:+inf"]);
    assert_eq!(ask::<String>(&server, &["GET", &key(".s")]), "3");
    assert_eq!(count(&store, part("c", 2)).await, Counted::Last);
    assert_eq!(ask::<Vec<String>>(&server, &["KEYS", "*taskset*"]), [key(".c")]);
    assert_eq!(ask::<String>(&server, &["GET", &key(".c")]), "done");
}

/// Its report has a place in `.j` and none in `.d`.
#[tokio::test]
async fn a_member_that_an_older_worker_counted_does_not_count_again() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    begin(&store, 3).await;
    older_worker_counts(&server, "a", "0", 7);
    assert_eq!(count(&store, part("a", 0)).await, Counted::Over);
    assert_eq!(count(&store, part("b", 1)).await, Counted::Open);
    assert_eq!(count(&store, failure("a", 0)).await, Counted::Over);
    let parts = store.groups().chord(&chord()).await.unwrap().unwrap().parts;
    let results: Vec<Value> = parts.into_iter().map(|part| part.result).collect();
    assert_eq!(results, [Value::Int(7), Value::Int(10)]);
    assert_eq!(count(&store, part("c", 2)).await, Counted::Last);
}

/// Which leaves who has reported to others, and no word that the chord is over.
#[tokio::test]
async fn a_chord_that_an_older_worker_closed_begins_anew() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    begin(&store, 2).await;
    assert_eq!(count(&store, part("a", 0)).await, Counted::Open);
    older_worker_counts(&server, "b", "1", 10);
    ask::<u64>(&server, &["DEL", &key(".j"), &key(".t"), &key(".s")]);
    begin(&store, 2).await;
    assert_eq!(count(&store, part("a", 0)).await, Counted::Open);
    assert_eq!(count(&store, part("b", 1)).await, Counted::Last);
}

/// Celery's producers say the size before they send the last task only.
#[tokio::test]
async fn members_may_be_faster_than_their_sender() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    assert_eq!(count(&store, part("a", 0)).await, Counted::Open);
    older_worker_counts(&server, "b", "1", 10);
    // `set_chord_size` of 5.7.0.
    ask::<u64>(&server, &["DEL", &key(".c")]);
    ask::<()>(&server, &["SET", &key(".s"), "3", "EX", "600"]);
    let ask_first = ChordPart { closing: Closing::Ask, ..part("c", 2) };
    assert_eq!(count(&store, ask_first).await, Counted::Last);
    assert_eq!(store.groups().chord(&chord()).await.unwrap().unwrap().parts.len(), 2);
    assert_eq!(count(&store, part("c", 2)).await, Counted::Last);
}

#[tokio::test]
async fn an_early_failure_closes_the_chord_with_the_next_report_that_finds_a_size() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    assert_eq!(count(&store, failure("a", 0)).await, Counted::Open);
    assert_eq!(count(&store, part("b", 1)).await, Counted::Open);
    ask::<()>(&server, &["SET", &key(".s"), "4", "EX", "600"]);
    assert_eq!(count(&store, part("c", 2)).await, Counted::Failed);
    assert_eq!(count(&store, part("d", 3)).await, Counted::Over);
}

#[tokio::test]
async fn who_has_claimed_the_body_sends_it() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    begin(&store, 2).await;
    assert_eq!(count(&store, part("a", 0)).await, Counted::Open);
    // A worker of 5.7 counts the last member, claims the body, and dies.
    older_worker_counts(&server, "b", "1", 10);
    ask::<u64>(&server, &["SADD", &key(".d"), "b:1"]);
    ask::<()>(&server, &["SET", &key(".c"), "0123456789abcdef", "EX", "6"]);
    assert_eq!(count(&store, part("b", 1)).await, Counted::Over);
    ask::<u64>(&server, &["DEL", &key(".c")]);
    // Its message comes back, and its claim has expired.
    assert_eq!(count(&store, part("b", 1)).await, Counted::Last);
}

#[tokio::test]
async fn what_a_stock_worker_found_failed_is_over() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    begin(&store, 2).await;
    assert_eq!(count(&store, part("a", 0)).await, Counted::Open);
    ask::<()>(&server, &["SET", &key(".c"), "0123456789abcdef", "EX", "6"]);
    ask::<u64>(&server, &["DEL", &key(".s")]);
    assert_eq!(count(&store, failure("b", 1)).await, Counted::Over);
    assert_eq!(store.groups().chord(&chord()).await.unwrap(), None);
}

/// As `group(add.s(1), add.s(1))` of one frozen signature does, which Celery itself never completes.
#[tokio::test]
async fn one_call_may_stand_at_two_places() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    begin(&store, 3).await;
    for index in [0, 1] {
        let same = ChordPart { result: Value::Int(1), ..part("a", index) };
        assert_eq!(count(&store, same).await, Counted::Open);
    }
    let parts = store.groups().chord(&chord()).await.unwrap().unwrap().parts;
    assert_eq!(parts.iter().map(|part| part.index).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert_eq!(count(&store, part("b", 2)).await, Counted::Last);
}

#[tokio::test]
async fn results_may_come_in_the_order_of_their_ends() {
    let server = Server::start();
    let mut options = options();
    options.redis.result_chord_ordered = false;
    let store = open_with(&server.url(0), &options).await;
    begin(&store, 4).await;
    assert_eq!(count(&store, part("b", 1)).await, Counted::Open);
    // A worker before 5.7.
    ask::<u64>(&server, &["RPUSH", &key(".j"), r#"[1, "c", "SUCCESS", 20]"#]);
    assert_eq!(count(&store, part("c", 2)).await, Counted::Over);
    assert_eq!(count(&store, part("a", 0)).await, Counted::Open);
    let parts = store.groups().chord(&chord()).await.unwrap().unwrap().parts;
    let members: Vec<&str> = parts.iter().map(|part: &Reported| part.member.as_str()).collect();
    assert_eq!(members, ["b", "c", "a"]);
    // One call at two places reports the same twice.
    store.groups().extend(vec![(chord(), 1)]).await.unwrap();
    let again = ChordPart { result: Value::Int(0), ..part("a", 3) };
    assert_eq!(count(&store, again).await, Counted::Open);
    assert_eq!(store.groups().chord(&chord()).await.unwrap().unwrap().parts.len(), 4);
    assert_eq!(count(&store, part("d", 3)).await, Counted::Last);
}

/// Members that finish together are counted in one step, unless a worker before 5.7 has counted some, which does not say whom.
#[tokio::test]
async fn members_that_finish_together_count_as_they_do_alone() {
    for is_ordered in [true, false] {
        let server = Server::start();
        let mut options = options();
        options.redis.result_chord_ordered = is_ordered;
        let store = open_with(&server.url(0), &options).await;
        let mut consumer = consume(&store, LIFE).await;
        begin(&store, 9).await;
        let finish = |deliveries: Vec<Delivery>, first: i64| {
            let members = deliveries.into_iter().enumerate().map(move |(at, delivery)| {
                let mut finish = done(&delivery);
                finish.result.as_mut().unwrap().expires_after = LIFE;
                let parts = vec![part(id(&delivery), first + at as i64)];
                let parts =
                    parts.into_iter().map(|part| ChordPart { closing: Closing::Ask, ..part }).collect();
                finish.workflow = Some(Box::new(Consequences { parts, ..Consequences::default() }));
                finish
            });
            consumer.settler.finish(members.collect())
        };
        publish(&store, &["a", "b", "c", "d", "e", "f"]).await;
        let mut deliveries = consumer.consumer.fetch(10).await.unwrap();
        let second = deliveries.split_off(3);
        // One of them ran before, and its worker died.
        assert_eq!(count(&store, part("b", 1)).await, Counted::Open);
        assert_eq!(finish(deliveries, 0).await.unwrap(), [Settled::Done; 3]);
        if is_ordered {
            older_worker_counts(&server, "e", "4", 40);
        } else {
            ask::<u64>(&server, &["RPUSH", &key(".j"), r#"[1, "e", "SUCCESS", 40]"#]);
        }
        assert_eq!(finish(second, 3).await.unwrap(), [Settled::Done; 3]);
        let chord = store.groups().chord(&chord()).await.unwrap().unwrap();
        let mut members: Vec<&str> = chord.parts.iter().map(|part| part.member.as_str()).collect();
        members.sort_unstable();
        assert_eq!(members, ["a", "b", "c", "d", "e", "f"], "in order: {is_ordered}");
        let left: i64 = ask(&server, &["PTTL", &key(".d")]);
        assert!(left > 0, "it lives as long as its last report says");
    }
}

/// In portions: the server does nothing else while it answers.
#[tokio::test]
async fn a_large_chord_is_read_whole() {
    const MANY: i64 = 12_000;
    let server = Server::start();
    let mut options = options();
    for is_ordered in [true, false] {
        options.redis.result_chord_ordered = is_ordered;
        let store = open_with(&server.url(0), &options).await;
        begin(&store, 1_000_000).await;
        let parts: Vec<ChordPart> = (0..MANY).map(|index| part(&index.to_string(), index)).collect();
        for some in parts.chunks(500) {
            store.groups().count(some.to_vec()).await.unwrap();
        }
        let parts = store.groups().chord(&chord()).await.unwrap().unwrap().parts;
        let members: Vec<String> = parts.iter().map(|part| part.member.to_string()).collect();
        assert_eq!(members, (0..MANY).map(|index| index.to_string()).collect::<Vec<_>>());
        let stats: String = ask(&server, &["INFO", "commandstats"]);
        let command = if is_ordered { "cmdstat_zrange:calls=3," } else { "cmdstat_lrange:calls=3," };
        assert!(stats.contains(command), "{stats}");
        ask::<()>(&server, &["FLUSHALL"]);
    }
}

/// A saved group that says how the header is nested is kept for as long as the chord, which reads it.
#[tokio::test]
async fn reports_keep_the_whole_chord_alive() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    begin(&store, 2).await;
    store.groups().extend(vec![(chord(), 1)]).await.unwrap();
    let saved = crate::SavedGroup { id: chord(), result: Value::List(Vec::new()), expires_after: LIFE };
    store.groups().save(vec![saved]).await.unwrap();
    let long = ChordPart { expires_after: LIFE * 2, ..part("a", 0) };
    assert_eq!(count(&store, long).await, Counted::Open);
    for ending in ["", ".j", ".t", ".s", ".d"] {
        let left: i64 = ask(&server, &["TTL", &key(ending)]);
        assert!(left > 600, "{ending}: {left}");
    }
}

/// Nobody else could tell its chord that it was revoked.
#[tokio::test]
async fn a_revoked_task_that_a_workflow_waits_for_leaves_the_schedule_for_a_worker() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let due = Some(Clock::system().now().saturating_add(LIFE));
    let mut linked = Publish { due, ..call("linked") };
    linked.message.body = Bytes::from_static(
        br#"[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": {"task": "body"}}]"#,
    );
    let messages = vec![linked, Publish { due, ..call("alone") }, call("before")];
    store.broker().publish(messages.into()).await.unwrap();
    let revocation = |id: &str| Revocation { task_id: id.into(), terminate: false, expires_after: LIFE };
    for _ in 0..2 {
        let removed = store.revocations().revoke(["linked", "alone"].map(revocation).to_vec()).await.unwrap();
        assert_eq!(removed, ["alone".into()]);
    }
    assert_eq!(store.schedule().scheduled(10).await.unwrap(), []);
    let mut subscription = consume(&store, LIFE).await;
    let deliveries = fetch(&mut subscription).await;
    assert_eq!(ids(&deliveries), ["linked", "before"]);
    assert_eq!(deliveries[0].revoked, Some(true));
}
