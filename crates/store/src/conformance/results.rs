//! What a result backend promises.

use std::time::Duration;

use celeriac_protocol::{ResultRecord, State, TaskId, Value};

use super::StoreUnderTest;
use super::subject::{LEASE, LIMIT, MOMENT, START, record, result, task_ids, within};
use crate::{Error, StoreResult};

const FINAL: [State; 3] = [State::Success, State::Failure, State::Revoked];

fn reports() -> [State; 5] {
    [State::Received, State::Started, State::Retry, State::Rejected, State::Custom("PROGRESS".into())]
}

/// A record is read back as it was stored, by everybody.
pub async fn a_result_is_read_back_as_it_was_stored(store: &StoreUnderTest) {
    let stored = ResultRecord {
        result: Value::Map(vec![
            ("exc_type".into(), Value::String("ValueError".into())),
            (
                "exc_message".into(),
                Value::List(vec![Value::String("'\u{0}' ünïcode".into()), Value::Int(-7)]),
            ),
        ]),
        traceback: Some("Traceback (most recent call last):\n  …".into()),
        children: Value::List(vec![Value::List(vec![Value::String("child".into()), Value::Null])]),
        date_done: Some(START),
        other: vec![("worker".into(), Value::String("w@h".into())), ("retries".into(), Value::Int(2))],
        ..record("a", State::Failure)
    };
    store.store_result(stored.clone()).await;
    let elsewhere = store.elsewhere().await;
    assert_eq!(elsewhere.results().get(&task_ids(&["a"])).await.unwrap(), [Some(stored)]);
}

/// What another program has encoded is read back as that program wrote it, and stands as firmly as any other record.
pub async fn an_encoded_result_is_stored_as_it_is(store: &StoreUnderTest) {
    let written =
        ResultRecord { result: Value::Int(7), date_done: Some(START), ..record("a", State::Success) };
    let handed_over =
        |bytes: Vec<u8>| StoreResult::encoded(TaskId::new("a"), State::Success, bytes.into(), LEASE * 100);
    store.results().store(vec![handed_over(written.encode())]).await.unwrap();
    store.store_result(record("a", State::Failure)).await;
    let elsewhere = store.elsewhere().await;
    assert_eq!(elsewhere.results().get(&task_ids(&["a"])).await.unwrap(), [Some(written)]);
    let large = handed_over(vec![b' '; LIMIT + 1]);
    assert!(matches!(store.results().store(vec![large]).await, Err(Error::TooLarge { .. })));
}

/// Records come in the order asked for, with gaps for what is unknown.
pub async fn results_come_in_the_order_asked(store: &StoreUnderTest) {
    let three = ["a", "b", "c"].map(|id| result(id, State::Success)).to_vec();
    store.results().store(three).await.unwrap();
    let ids = task_ids(&["c", "unknown", "a", "c"]);
    let records = store.results().get(&ids).await.unwrap();
    let found: Vec<_> =
        records.iter().map(|record| record.as_ref().map(|record| record.task_id.as_str())).collect();
    assert_eq!(found, [Some("c"), None, Some("a"), Some("c")]);
    assert_eq!(store.results().get(&[]).await.unwrap(), []);
}

/// A late report changes nothing of what is final.
pub async fn a_final_result_is_not_replaced_by_a_report(store: &StoreUnderTest) {
    for state in FINAL {
        let id = format!("{state:?}");
        store.store_result(record(&id, state.clone())).await;
        for report in reports() {
            store.store_result(record(&id, report)).await;
            assert_eq!(store.state_of(&id).await, Some(state.clone()));
        }
    }
    let together = [State::Success, State::Started].map(|state| result("together", state)).to_vec();
    store.results().store(together).await.unwrap();
    assert_eq!(store.state_of("together").await, Some(State::Success));
}

/// A task that failed or was revoked may still end otherwise: the later final record stays.
pub async fn the_later_of_two_failures_stays(store: &StoreUnderTest) {
    for state in [State::Failure, State::Revoked, State::Failure, State::Success] {
        store.store_result(record("a", state.clone())).await;
        assert_eq!(store.state_of("a").await, Some(state));
    }
}

/// Nothing takes back a success, neither a second run that failed nor another success.
pub async fn a_success_stays(store: &StoreUnderTest) {
    let first = ResultRecord { result: Value::Int(1), ..record("a", State::Success) };
    store.store_result(first.clone()).await;
    for state in [State::Failure, State::Revoked, State::Success] {
        store.store_result(record("a", state)).await;
        assert_eq!(store.results().get(&task_ids(&["a"])).await.unwrap(), [Some(first.clone())]);
    }
}

/// What is not final is replaced by whatever comes next.
pub async fn a_report_is_replaced_by_the_next(store: &StoreUnderTest) {
    for state in
        [State::Started, State::Custom("PROGRESS".into()), State::Retry, State::Started, State::Success]
    {
        store.store_result(record("a", state.clone())).await;
        assert_eq!(store.state_of("a").await, Some(state));
    }
}

/// Who waits for what is final already need not wait, and hears only of that.
pub async fn waiting_returns_what_is_final_already(store: &StoreUnderTest) {
    for (id, state) in [("done", State::Success), ("running", State::Started), ("failed", State::Failure)] {
        store.store_result(record(id, state)).await;
    }
    let ids = task_ids(&["running", "failed", "unknown", "done"]);
    let ended = within("the end of a task", store.results().wait(&ids)).await.unwrap();
    let mut ended: Vec<_> = ended.iter().map(|record| record.task_id.as_str()).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["done", "failed"]);
}

/// Who waits is woken by the first final state, stored from elsewhere, and not by reports.
pub async fn a_final_result_wakes_who_waits(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let ids = task_ids(&["a", "b"]);
    for (state, round) in FINAL.into_iter().zip(0..) {
        let mut wait = std::pin::pin!(store.results().wait(&ids));
        store.keeps_waiting("a wait for no result", &mut wait).await;
        for report in reports() {
            elsewhere.results().store(vec![result("b", report)]).await.unwrap();
        }
        store.keeps_waiting("a wait for a report", &mut wait).await;
        elsewhere.results().store(vec![result("b", state.clone())]).await.unwrap();
        let ended = within("the final state", wait).await.unwrap();
        assert_eq!(ended, [record("b", state)], "round {round}");
        store.results().forget(&ids).await.unwrap();
    }
}

/// Any number may wait, for one task or for many.
pub async fn one_result_wakes_many(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let waiters: Vec<_> = (0..100)
        .map(|n| {
            let results = elsewhere.results().clone();
            let ids = task_ids(&["awaited", &format!("other {n}")]);
            tokio::spawn(async move { results.wait(&ids).await })
        })
        .collect();
    store.store_result(record("unrelated", State::Success)).await;
    store.store_result(record("awaited", State::Success)).await;
    for waiter in waiters {
        let ended = within("the end of the task", waiter).await.unwrap().unwrap();
        assert_eq!(ended, [record("awaited", State::Success)]);
    }
}

/// Nothing to wait for is no reason to wait.
pub async fn waiting_for_no_task_returns_at_once(store: &StoreUnderTest) {
    assert_eq!(within("nothing", store.results().wait(&[])).await.unwrap(), []);
}

/// A wait that is dropped leaves nothing behind, and the next one misses nothing.
pub async fn a_wait_may_be_dropped(store: &StoreUnderTest) {
    let ids = [TaskId::new("a")];
    for _ in 0..10 {
        store.keeps_waiting("a wait for no result", &mut std::pin::pin!(store.results().wait(&ids))).await;
    }
    store.store_result(record("a", State::Success)).await;
    assert_eq!(within("the result", store.results().wait(&ids)).await.unwrap().len(), 1);
}

/// A forgotten result is as if it had never been; what is forgotten may be stored anew.
pub async fn a_forgotten_result_is_unknown(store: &StoreUnderTest) {
    for id in ["a", "b"] {
        store.store_result(record(id, State::Success)).await;
    }
    store.results().forget(&task_ids(&["a", "unknown"])).await.unwrap();
    assert_eq!((store.state_of("a").await, store.state_of("b").await), (None, Some(State::Success)));
    store.store_result(record("a", State::Started)).await;
    assert_eq!(store.state_of("a").await, Some(State::Started));
}

/// A result is kept as long as was asked, counted from when it was stored last, and not longer.
pub async fn a_result_expires(store: &StoreUnderTest) {
    let kept_for = |id, state, expires_after| StoreResult::new(record(id, state), expires_after);
    let results = vec![
        kept_for("short", State::Success, LEASE),
        kept_for("long", State::Success, LEASE * 3),
        kept_for("renewed", State::Started, LEASE),
    ];
    store.results().store(results).await.unwrap();
    store.advance(LEASE - 5 * MOMENT).await;
    store.results().store(vec![kept_for("renewed", State::Success, LEASE)]).await.unwrap();
    assert_eq!(store.state_of("short").await, Some(State::Success));
    store.advance(6 * MOMENT).await;
    assert_eq!(store.state_of("short").await, None);
    assert_eq!(store.state_of("long").await, Some(State::Success));
    assert_eq!(store.state_of("renewed").await, Some(State::Success));
}

/// What has expired is as if it had never been: it holds nobody from waiting or storing.
pub async fn an_expired_result_is_in_nobodys_way(store: &StoreUnderTest) {
    let short = StoreResult::new(record("a", State::Success), LEASE);
    store.results().store(vec![short]).await.unwrap();
    store.advance(LEASE + MOMENT).await;
    let ids = [TaskId::new("a")];
    let mut wait = std::pin::pin!(store.results().wait(&ids));
    store.keeps_waiting("a wait for an expired result", &mut wait).await;
    store.store_result(record("a", State::Started)).await;
    assert_eq!(store.state_of("a").await, Some(State::Started));
}

/// A result over the limit is refused by name, and nothing of its call is stored.
pub async fn a_result_over_the_limit_is_refused(store: &StoreUnderTest) {
    let large = ResultRecord {
        result: Value::String("x".repeat(LIMIT + 1).into()),
        ..record("large", State::Success)
    };
    let large = StoreResult::new(large, LEASE);
    match store.results().store(vec![result("small", State::Success), large]).await {
        Err(Error::TooLarge { what, size, limit }) => assert!(what.contains("large") && size > limit),
        other => panic!("a result over the limit: {other:?}"),
    }
    assert_eq!(store.state_of("small").await, None);
}

/// Storing, forgetting and asking for nothing is no error.
pub async fn no_results_are_no_error(store: &StoreUnderTest) {
    store.results().store(Vec::new()).await.unwrap();
    store.results().forget(&[]).await.unwrap();
}

/// A task id may be any text, and ids that look alike are different tasks.
pub async fn task_ids_are_compared_as_text(store: &StoreUnderTest) {
    let ids = [
        "0192a4d6-7c1e-7a3b-8b1f-0a1b2c3d4e5f",
        "0192A4D6-7C1E-7A3B-8B1F-0A1B2C3D4E5F",
        "0192a4d67c1e7a3b8b1f0a1b2c3d4e5f",
        "{0192a4d6-7c1e-7a3b-8b1f-0a1b2c3d4e5f}",
        "",
        " ",
        "0123456789abcdef",
        "it's ünïcode\u{0}",
    ];
    for (id, n) in ids.iter().zip(0..) {
        store.store_result(ResultRecord { result: Value::Int(n), ..record(id, State::Success) }).await;
    }
    let records = store.results().get(&task_ids(&ids)).await.unwrap();
    let found: Vec<_> = records.into_iter().flatten().map(|record| (record.task_id, record.result)).collect();
    let expected: Vec<_> = ids.iter().zip(0..).map(|(id, n)| (TaskId::new(id), Value::Int(n))).collect();
    assert_eq!(found, expected);
}

/// A result may be kept for ever.
pub async fn a_result_may_be_kept_for_ever(store: &StoreUnderTest) {
    let endless = StoreResult::new(record("a", State::Success), Duration::MAX);
    store.results().store(vec![endless]).await.unwrap();
    store.advance(LEASE * 100_000).await;
    assert_eq!(store.state_of("a").await, Some(State::Success));
}
