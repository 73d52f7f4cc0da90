//! What saved groups promise.

use celeriac_protocol::{GroupId, Value};

use super::StoreUnderTest;
use super::chords::{begin, chord, group};
use super::subject::{LEASE, LIMIT, MOMENT};
use crate::{Error, SavedGroup};

/// A group of these members, as Celery's nested tuples.
fn saved(id: &str, members: &[&str]) -> SavedGroup {
    let pair =
        |id: &str, rest: Value| Value::List(vec![Value::List(vec![Value::from(id), Value::Null]), rest]);
    let results = members.iter().map(|member| pair(member, Value::Null)).collect();
    SavedGroup { id: group(id), result: pair(id, Value::List(results)), expires_after: LEASE * 100 }
}

async fn restored(store: &StoreUnderTest, ids: &[&str]) -> Vec<Option<Value>> {
    let ids: Vec<GroupId> = ids.iter().map(GroupId::new).collect();
    store.groups().restore(&ids).await.unwrap()
}

/// What a group is made of is found everywhere, in the order asked, as it was saved.
pub async fn saved_groups_are_restored(store: &StoreUnderTest) {
    let (one, two) = (saved("one", &["a", "b"]), saved("two", &[]));
    store.groups().save(vec![one.clone(), two.clone()]).await.unwrap();
    let elsewhere = store.elsewhere().await;
    let asked = ["two", "other", "one"].map(GroupId::from);
    let found = elsewhere.groups().restore(&asked).await.unwrap();
    assert_eq!(found, [Some(two.result), None, Some(one.result)]);
}

/// Saving a group again replaces what was kept of it.
pub async fn a_group_saved_again_is_replaced(store: &StoreUnderTest) {
    let later = saved("one", &["a", "b"]);
    store.groups().save(vec![saved("one", &["a"])]).await.unwrap();
    store.groups().save(vec![later.clone()]).await.unwrap();
    assert_eq!(restored(store, &["one"]).await, [Some(later.result)]);
}

/// A forgotten group is unknown, and others stay; its chord counts on.
pub async fn a_forgotten_group_is_unknown(store: &StoreUnderTest) {
    let kept = saved("kept", &["a"]);
    store.groups().save(vec![saved("forgotten", &["a"]), kept.clone()]).await.unwrap();
    begin(store, "forgotten", 2).await;
    store.groups().forget(&[group("forgotten"), group("never saved")]).await.unwrap();
    assert_eq!(restored(store, &["forgotten", "kept"]).await, [None, Some(kept.result)]);
    assert!(chord(store, "forgotten").await.is_some());
}

/// A saved group is kept for as long as was asked.
pub async fn a_saved_group_expires(store: &StoreUnderTest) {
    let short = SavedGroup { expires_after: LEASE, ..saved("short", &["a"]) };
    let long = saved("long", &["a"]);
    store.groups().save(vec![short, long.clone()]).await.unwrap();
    store.advance(LEASE + MOMENT).await;
    assert_eq!(restored(store, &["short", "long"]).await, [None, Some(long.result)]);
}

/// One group over the limit, and none of that call is saved.
pub async fn a_group_over_the_limit_saves_nothing(store: &StoreUnderTest) {
    let large = SavedGroup { result: Value::from("x".repeat(LIMIT + 1).as_str()), ..saved("large", &[]) };
    let refused = store.groups().save(vec![saved("small", &[]), large]).await;
    match refused {
        Err(Error::TooLarge { what, .. }) => assert!(what.contains("large"), "{what:?} names the group"),
        other => panic!("a group over the limit: {other:?}"),
    }
    assert_eq!(restored(store, &["small", "large"]).await, [None, None]);
}

/// No groups are no error.
pub async fn no_groups_are_no_error(store: &StoreUnderTest) {
    let groups = store.groups();
    groups.save(Vec::new()).await.unwrap();
    groups.forget(&[]).await.unwrap();
    groups.begin(Vec::new()).await.unwrap();
    groups.extend(Vec::new()).await.unwrap();
    assert_eq!(groups.restore(&[]).await.unwrap(), []);
    assert_eq!(groups.foresee(&[]).await.unwrap(), []);
    assert_eq!(groups.count(Vec::new()).await.unwrap(), []);
}
