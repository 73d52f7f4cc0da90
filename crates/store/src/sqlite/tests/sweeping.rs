//! What has expired leaves the file.

use std::time::Duration;

use celeriac_protocol::{ResultRecord, State, TaskId, Timestamp, Value};

use super::{Folder, consume};
use crate::clock::Clock;
use crate::{ConnectOptions, Revocation, StoreResult};

const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn result(id: usize, expires_after: Duration) -> StoreResult {
    let id = TaskId::new(format!("task-{id}"));
    StoreResult { record: ResultRecord::new(id, State::Success, Value::Null, None), expires_after }
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
