//! What has expired leaves the file.

use std::time::Duration;

use celeriac_protocol::{GroupId, ResultRecord, State, TaskId, Timestamp, Value};

use super::{Folder, consume};
use crate::clock::Clock;
use crate::{ChordPart, Closing, ConnectOptions, NewChord, Revocation, SavedGroup, Store, StoreResult};

const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn result(id: usize, expires_after: Duration) -> StoreResult {
    let id = TaskId::new(format!("task-{id}"));
    StoreResult::new(ResultRecord::new(id, State::Success, Value::Null, None), expires_after)
}

#[tokio::test]
async fn expired_results_and_revocations_leave_the_file_and_others_stay() {
    let folder = Folder::new();
    let (clock, hand) = Clock::with_hand(START);
    let store = folder.open(&ConnectOptions { clock, ..ConnectOptions::default() }).await;
    let results = (0..3000).map(|id| result(id, if id % 3 == 0 { HOUR * 10 } else { HOUR }));
    store.results().store(results.collect()).await.unwrap();
    let revocation = Revocation { task_id: TaskId::new("revoked"), terminate: false, expires_after: HOUR };
    store.revocations().revoke(vec![revocation]).await.unwrap();

    hand.advance(HOUR * 2);
    let subscription = consume(&store, HOUR * 100).await;
    // Each renewal sweeps one bounded step.
    for _ in 0..20 {
        subscription.lease.renew().await.unwrap();
    }
    let plain = folder.plain();
    let count = |table| -> i64 {
        plain.query_one(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!([count("result"), count("revoked"), count("expiry")], [1000, 0, 1]);
}

#[tokio::test]
async fn storing_removes_more_than_it_adds() {
    let folder = Folder::new();
    let (clock, hand) = Clock::with_hand(START);
    let store = folder.open(&ConnectOptions { clock, ..ConnectOptions::default() }).await;
    let batch = |from: usize| (from..from + 2000).map(|id| result(id, HOUR)).collect();
    store.results().store(batch(0)).await.unwrap();
    hand.advance(HOUR * 2);
    store.results().store(batch(2000)).await.unwrap();
    let left: i64 = folder.plain().query_one("SELECT count(*) FROM result", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 2000);
}

fn part(chord: &str, member: usize) -> ChordPart {
    ChordPart {
        chord: GroupId::new(chord),
        member: TaskId::new(format!("task-{member}")),
        index: None,
        state: State::Success,
        result: Value::Null,
        adds: 0,
        expires_after: HOUR,
        closing: Closing::Known(Box::default()),
    }
}

async fn begin(store: &Store, chord: &str, size: u64) {
    let chord = NewChord { id: GroupId::new(chord), size, expires_after: HOUR };
    store.groups().begin(vec![chord]).await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_of_groups_and_chords() {
    const MANY: usize = 3000;
    let folder = Folder::new();
    let (clock, hand) = Clock::with_hand(START);
    let store = folder.open(&ConnectOptions { clock, ..ConnectOptions::default() }).await;
    let group = SavedGroup { id: GroupId::new("group"), result: Value::Null, expires_after: HOUR };
    store.groups().save(vec![group]).await.unwrap();
    for (chord, awaited) in [("closed", MANY), ("open", MANY + 1), ("small", 3), ("waits", 4)] {
        begin(&store, chord, awaited as u64).await;
        let reported = if awaited > 4 { MANY } else { 3 };
        let parts = (0..reported).map(|member| part(chord, member)).collect();
        store.groups().count(parts).await.unwrap();
    }
    let plain = folder.plain();
    let count = |table| -> i64 {
        plain.query_one(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let subscription = consume(&store, HOUR * 100).await;
    // Each renewal sweeps one bounded step.
    for _ in 0..4 {
        subscription.lease.renew().await.unwrap();
    }
    assert_eq!([count("part"), count("chord"), count("ended_run")], [MANY as i64 + 3, 4, 0]);
    hand.advance(HOUR * 2);
    for _ in 0..4 {
        subscription.lease.renew().await.unwrap();
    }
    let left = ["saved_group", "chord", "part", "ended_run"].map(count);
    assert_eq!(left, [0; 4]);
}

#[tokio::test]
async fn a_chord_that_has_expired_leaves_its_parts_out_of_its_next_run() {
    let folder = Folder::new();
    let (clock, hand) = Clock::with_hand(START);
    let store = folder.open(&ConnectOptions { clock, ..ConnectOptions::default() }).await;
    begin(&store, "chord", 1000).await;
    store.groups().count((0..500).map(|member| part("chord", member)).collect()).await.unwrap();
    hand.advance(HOUR * 2);
    begin(&store, "chord", 1000).await;
    let again = store.groups().count(vec![part("chord", 1)]).await.unwrap();
    assert_eq!(again, [crate::Counted::Open]);
    let chord = store.groups().chord(&GroupId::new("chord")).await.unwrap().unwrap();
    assert_eq!(chord.parts.len(), 1);
}
