//! What is promised of changes of workers.

use std::time::Duration;

use celeriac_protocol::Value;

use super::StoreUnderTest;
use super::subject::{LEASE, MOMENT};
use crate::{ControlChange, Whose};

fn node(name: &str) -> Whose {
    Whose::Node(name.into())
}

fn change(store: &StoreUnderTest, name: &str, value: impl Into<Value>) -> ControlChange {
    ControlChange { name: name.into(), value: value.into(), at: store.now() }
}

async fn keep(store: &StoreUnderTest, whose: &Whose, changes: impl Into<Vec<ControlChange>>) {
    store.control_state().keep(whose, changes.into(), LEASE).await.unwrap();
}

/// What is kept of a node, by name.
async fn kept(store: &StoreUnderTest, whose: &Whose) -> Vec<(String, Value)> {
    let kept = store.control_state().kept(whose).await.unwrap();
    kept.into_iter().map(|change| (change.name.into(), change.value)).collect()
}

/// Changes are there for every process, as they were kept, by name.
pub async fn changes_are_kept_for_all(store: &StoreUnderTest) {
    let arguments = Value::Map(vec![("rate".into(), "10/m".into()), ("soft".into(), Value::Float(1.5))]);
    let changes = [change(store, "a rate", arguments), change(store, "queue b\0:\u{1F96C}", true)];
    let elsewhere = store.elsewhere().await;
    let backwards = changes.iter().rev().cloned().collect();
    elsewhere.control_state().keep(&Whose::All, backwards, LEASE).await.unwrap();
    assert_eq!(store.control_state().kept(&Whose::All).await.unwrap(), changes);
}

/// Each node has its own changes, and all have theirs.
pub async fn each_node_has_its_own_changes(store: &StoreUnderTest) {
    for (whose, value) in [(Whose::All, 1), (node("a@h"), 2), (node("b@h"), 3)] {
        keep(store, &whose, [change(store, "x", value)]).await;
    }
    for (whose, value) in [(Whose::All, 1), (node("a@h"), 2), (node("b@h"), 3)] {
        assert_eq!(kept(store, &whose).await, [("x".to_owned(), value.into())], "{whose:?}");
    }
    assert_eq!(kept(store, &node("c@h")).await, []);
}

/// A change takes the place of the last one of its name, whenever that was; others stay.
pub async fn a_change_replaces_the_last_of_its_name(store: &StoreUnderTest) {
    keep(store, &Whose::All, [change(store, "x", 1), change(store, "y", 1)]).await;
    store.advance(MOMENT).await;
    keep(store, &Whose::All, [change(store, "x", 2)]).await;
    assert_eq!(kept(store, &Whose::All).await, [("x".to_owned(), 2.into()), ("y".to_owned(), 1.into())]);
}

/// A change to nothing is forgotten, also one that was never kept.
pub async fn a_forgotten_change_is_gone(store: &StoreUnderTest) {
    keep(store, &node("a@h"), [change(store, "x", 1), change(store, "y", 1)]).await;
    keep(store, &node("a@h"), [change(store, "x", Value::Null), change(store, "z", Value::Null)]).await;
    assert_eq!(kept(store, &node("a@h")).await, [("y".to_owned(), 1.into())]);
    keep(store, &node("a@h"), [change(store, "y", Value::Null)]).await;
    assert_eq!(kept(store, &node("a@h")).await, []);
}

/// Changes are forgotten at their time, unless something of the same node was kept meanwhile.
pub async fn changes_expire_together(store: &StoreUnderTest) {
    for whose in [Whose::All, node("a@h"), node("b@h")] {
        keep(store, &whose, [change(store, "x", 1)]).await;
    }
    store.advance(LEASE - 5 * MOMENT).await;
    keep(store, &Whose::All, [change(store, "y", 1)]).await;
    keep(store, &node("a@h"), []).await;
    store.advance(6 * MOMENT).await;
    assert_eq!(kept(store, &Whose::All).await, [("x".to_owned(), 1.into()), ("y".to_owned(), 1.into())]);
    assert_eq!(kept(store, &node("a@h")).await, [("x".to_owned(), 1.into())]);
    assert_eq!(kept(store, &node("b@h")).await, []);
}

/// What has expired does not come back with what is kept later.
pub async fn an_expired_change_stays_forgotten(store: &StoreUnderTest) {
    keep(store, &Whose::All, [change(store, "x", 1)]).await;
    store.advance(LEASE + MOMENT).await;
    keep(store, &Whose::All, [change(store, "y", 1)]).await;
    assert_eq!(kept(store, &Whose::All).await, [("y".to_owned(), 1.into())]);
}

/// Changes may be kept for ever.
pub async fn a_change_may_be_kept_for_ever(store: &StoreUnderTest) {
    let change = change(store, "x", 1);
    store.control_state().keep(&Whose::All, vec![change.clone()], Duration::MAX).await.unwrap();
    store.advance(LEASE * 100_000).await;
    assert_eq!(store.control_state().kept(&Whose::All).await.unwrap(), [change]);
}

/// A change is kept where there is room, in the place of another, or if it makes room; each node has its own.
pub async fn so_many_changes_are_kept_and_no_more(store: &StoreUnderTest) {
    let keep_one = async |whose: &Whose, name: &str, value: Value| {
        let change = change(store, name, value);
        store.control_state().keep_if_room(whose, change, 2, LEASE).await.unwrap()
    };
    let a = node("a@h");
    keep(store, &a, [change(store, "x", 1)]).await;
    keep(store, &a, [change(store, "x", 2)]).await;
    assert!(keep_one(&a, "y", 1.into()).await && !keep_one(&a, "z", 1.into()).await);
    assert!(keep_one(&Whose::All, "z", 1.into()).await);
    assert!(keep_one(&a, "x", 3.into()).await, "it takes a place that is taken");
    assert_eq!(kept(store, &a).await, [("x".to_owned(), 3.into()), ("y".to_owned(), 1.into())]);
    assert!(keep_one(&a, "z", Value::Null).await && !keep_one(&a, "z", 1.into()).await);
    keep(store, &a, [change(store, "y", Value::Null), change(store, "y", Value::Null)]).await;
    assert!(keep_one(&a, "z", 1.into()).await && !keep_one(&a, "y", 1.into()).await);
    assert!(keep_one(&a, "x", Value::Null).await && keep_one(&a, "y", 1.into()).await);
    store.advance(LEASE - MOMENT).await;
    assert!(!keep_one(&a, "x", 1.into()).await, "this keeps nothing any longer");
    assert!(keep_one(&a, "y", 2.into()).await);
    store.advance(LEASE - MOMENT).await;
    assert_eq!(kept(store, &a).await, [("y".to_owned(), 2.into()), ("z".to_owned(), 1.into())]);
    store.advance(2 * MOMENT).await;
    assert_eq!(kept(store, &a).await, []);
    assert!(keep_one(&a, "v", 1.into()).await && keep_one(&a, "w", 1.into()).await);
    assert_eq!(kept(store, &a).await.len(), 2);
}
