//! What broadcasts promise.

use celeriac_protocol::Message;

use super::StoreUnderTest;
use super::subject::{MOMENT, message, within};
use crate::{
    Broadcasts, Error, LARGEST_BROADCAST, Listener, Replies, Store, WAITING_BROADCAST_BYTES,
    WAITING_BROADCASTS,
};

const EXCHANGE: &str = "law.pidbox";
const REPLIES: &str = "reply.law.pidbox";

fn broadcasts(store: &Store) -> &dyn Broadcasts {
    &**store.broadcasts()
}

/// The next broadcast, by the id of its message.
async fn heard(listener: &mut dyn Listener) -> String {
    let Message { headers, .. } = within("the broadcast", listener.next()).await.unwrap();
    headers.id.expect("it was sent with an id").as_str().to_owned()
}

/// The next reply, by the id of its message.
async fn answer(mailbox: &mut dyn Replies) -> String {
    let Message { headers, .. } = within("the reply", mailbox.next()).await.unwrap();
    headers.id.expect("it was sent with an id").as_str().to_owned()
}

/// What is broadcast reaches everybody who listens to its exchange, in order, and nobody else.
pub async fn a_broadcast_reaches_everybody_who_listens(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let here = broadcasts(store.store());
    assert!(!here.broadcast(EXCHANGE, "", message("before")).await.unwrap(), "nobody listens");
    let mut listeners = Vec::new();
    for at in [here, here, broadcasts(&elsewhere)] {
        listeners.push(at.listen(EXCHANGE).await.unwrap());
    }
    let mut other = here.listen("other.pidbox").await.unwrap();
    assert!(broadcasts(&elsewhere).broadcast(EXCHANGE, "", message("a")).await.unwrap(), "somebody listens");
    broadcasts(&elsewhere).broadcast(EXCHANGE, "", message("b")).await.unwrap();
    here.broadcast("other.pidbox", "", message("c")).await.unwrap();
    for listener in &mut listeners {
        assert_eq!([heard(&mut **listener).await, heard(&mut **listener).await], ["a", "b"]);
    }
    assert_eq!(heard(&mut *other).await, "c");
}

/// What is broadcast with a routing key reaches those who listen to such, with its key, and nobody else.
pub async fn a_broadcast_with_a_key_reaches_those_who_listen_to_keys(store: &StoreUnderTest) {
    let here = broadcasts(store.store());
    let mut plain = here.listen(EXCHANGE).await.unwrap();
    let mut keyed = here.listen_to_keys(EXCHANGE).await.unwrap();
    for (key, id) in [("task.multi", "a"), ("", "b"), ("worker.online", "c")] {
        assert!(here.broadcast(EXCHANGE, key, message(id)).await.unwrap(), "somebody listens to {key}");
    }
    assert!(!here.broadcast("law.pidbox.other", "task.multi", message("d")).await.unwrap(), "nobody listens");
    here.broadcast(EXCHANGE, "worker.offline", message("e")).await.unwrap();
    for id in ["a", "c", "e"] {
        assert_eq!(heard(&mut *keyed).await, id);
    }
    assert_eq!(heard(&mut *plain).await, "b");
    store.keeps_waiting("a listener to what has no key", &mut std::pin::pin!(plain.next())).await;
}

/// A broadcast arrives as it was sent.
pub async fn a_broadcast_arrives_as_it_was_sent(store: &StoreUnderTest) {
    let mut listener = broadcasts(store.store()).listen(EXCHANGE).await.unwrap();
    let mut sent = message("a");
    sent.headers.other.push(("clock".into(), 7.into()));
    broadcasts(store.store()).broadcast(EXCHANGE, "", sent.clone()).await.unwrap();
    assert_eq!(within("the broadcast", listener.next()).await.unwrap(), sent);
}

/// Dropping the wait for a broadcast loses none.
pub async fn a_listener_may_be_interrupted(store: &StoreUnderTest) {
    let mut listener = broadcasts(store.store()).listen(EXCHANGE).await.unwrap();
    store.keeps_waiting("a listener to silence", &mut std::pin::pin!(listener.next())).await;
    broadcasts(store.store()).broadcast(EXCHANGE, "", message("a")).await.unwrap();
    assert_eq!(heard(&mut *listener).await, "a");
}

/// What is said while nobody listens is heard by nobody, also where somebody listened before.
pub async fn a_broadcast_to_nobody_is_not_kept(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    drop(broadcasts(store.store()).listen(EXCHANGE).await.unwrap());
    drop(broadcasts(store.store()).listen_to_keys(EXCHANGE).await.unwrap());
    for key in ["", "task.multi"] {
        broadcasts(&elsewhere).broadcast(EXCHANGE, key, message("a")).await.unwrap();
    }
    let mut plain = broadcasts(store.store()).listen(EXCHANGE).await.unwrap();
    let mut keyed = broadcasts(store.store()).listen_to_keys(EXCHANGE).await.unwrap();
    for key in ["", "task.multi"] {
        broadcasts(&elsewhere).broadcast(EXCHANGE, key, message("b")).await.unwrap();
    }
    assert_eq!([heard(&mut *plain).await, heard(&mut *keyed).await], ["b", "b"]);
}

/// One who never asks keeps nobody from hearing everything, and hears some of it, in order, when it asks at last.
pub async fn a_listener_that_never_asks_costs_the_others_nothing(store: &StoreUnderTest) {
    let here = broadcasts(store.store());
    let mut idle = here.listen_to_keys(EXCHANGE).await.unwrap();
    let mut busy = here.listen_to_keys(EXCHANGE).await.unwrap();
    let id = |number: usize| format!("{number:05}");
    for number in 0..WAITING_BROADCASTS + 100 {
        here.broadcast(EXCHANGE, "task.multi", message(&id(number))).await.unwrap();
        assert_eq!(heard(&mut *busy).await, id(number));
    }
    // Which makes room: the one before may have reached only the other yet.
    let mut waited = vec![heard(&mut *idle).await, heard(&mut *idle).await];
    here.broadcast(EXCHANGE, "task.multi", message("last")).await.unwrap();
    while waited.last().is_none_or(|last| last != "last") {
        waited.push(heard(&mut *idle).await);
    }
    assert!((3..=WAITING_BROADCASTS + 2).contains(&waited.len()), "{} waited", waited.len());
    assert!(waited.is_sorted(), "{waited:?}");
}

/// What waits for a listener that does not ask is bounded by its size, too.
pub async fn no_more_than_so_many_bytes_wait_for_a_listener(store: &StoreUnderTest) {
    // A store may write it with four bytes for three.
    const LARGE: usize = LARGEST_BROADCAST / 2;
    let here = broadcasts(store.store());
    let mut idle = here.listen(EXCHANGE).await.unwrap();
    let mut busy = here.listen(EXCHANGE).await.unwrap();
    for number in 0..2 * WAITING_BROADCAST_BYTES / LARGE {
        let large = Message { body: vec![b' '; LARGE].into(), ..message(&number.to_string()) };
        here.broadcast(EXCHANGE, "", large).await.unwrap();
        assert_eq!(heard(&mut *busy).await, number.to_string());
    }
    // Which makes room: the one before may have reached only the other yet.
    let mut waited = 2;
    for _ in 0..waited {
        heard(&mut *idle).await;
    }
    here.broadcast(EXCHANGE, "", message("last")).await.unwrap();
    while heard(&mut *idle).await != "last" {
        waited += 1;
    }
    assert!((3..=WAITING_BROADCAST_BYTES / LARGE + 2).contains(&waited), "{waited} waited");
}

/// Several are sent at once, in their order.
pub async fn many_broadcasts_are_heard_in_their_order(store: &StoreUnderTest) {
    let here = broadcasts(store.store());
    let many = || (0..20).map(|number| message(&number.to_string())).collect::<Vec<_>>();
    assert!(!here.broadcast_all(EXCHANGE, "task.multi", many()).await.unwrap(), "nobody listens");
    let mut listener = here.listen_to_keys(EXCHANGE).await.unwrap();
    assert!(here.broadcast_all(EXCHANGE, "task.multi", many()).await.unwrap(), "somebody listens");
    for number in 0..20 {
        assert_eq!(heard(&mut *listener).await, number.to_string());
    }
}

/// What is too large is refused, with what is sent beside it, or heard by nobody; and what follows is heard.
pub async fn a_broadcast_that_is_too_large_is_passed_over(store: &StoreUnderTest) {
    let mut listener = broadcasts(store.store()).listen(EXCHANGE).await.unwrap();
    let large = Message { body: vec![b' '; LARGEST_BROADCAST + 1].into(), ..message("large") };
    let here = broadcasts(store.store());
    match here.broadcast_all(EXCHANGE, "", vec![message("beside"), large]).await {
        Ok(is_heard) => assert!(is_heard && heard(&mut *listener).await == "beside"),
        Err(error) => assert!(matches!(error, Error::TooLarge { .. }), "{error}"),
    }
    here.broadcast(EXCHANGE, "", message("small")).await.unwrap();
    assert_eq!(heard(&mut *listener).await, "small");
}

/// A reply that nobody fetches is gone once it has expired.
pub async fn a_reply_expires(store: &StoreUnderTest) {
    let here = broadcasts(store.store());
    let mut mailbox = here.await_replies(REPLIES, MOMENT * 60).await.unwrap();
    let key = mailbox.routing_key().to_owned();
    assert!(here.reply(REPLIES, &key, message("early"), MOMENT * 10).await.unwrap());
    store.advance(MOMENT * 11).await;
    assert!(here.reply(REPLIES, &key, message("late"), MOMENT * 10).await.unwrap());
    assert_eq!(answer(&mut *mailbox).await, "late");
}

/// A reply to somebody who is gone goes nowhere.
pub async fn a_reply_to_nobody_is_not_kept(store: &StoreUnderTest) {
    let replied = broadcasts(store.store()).reply(REPLIES, "nobody", message("a"), MOMENT).await;
    assert!(!replied.unwrap());
}

/// Replies come to the mailbox with their key, in order, and to no other; several are open at once.
pub async fn replies_come_to_the_mailbox_that_they_are_for(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let here = broadcasts(store.store());
    let mut one = here.await_replies(REPLIES, MOMENT * 60).await.unwrap();
    let mut other = broadcasts(&elsewhere).await_replies(REPLIES, MOMENT * 60).await.unwrap();
    let (to_one, to_other) = (one.routing_key().to_owned(), other.routing_key().to_owned());
    for (key, id) in [(&to_one, "a"), (&to_other, "b"), (&to_one, "c")] {
        assert!(broadcasts(&elsewhere).reply(REPLIES, key, message(id), MOMENT).await.unwrap());
    }
    assert_eq!([answer(&mut *one).await, answer(&mut *one).await], ["a", "c"]);
    assert_eq!(answer(&mut *other).await, "b");
    assert!(here.reply(REPLIES, &to_one, message("d"), MOMENT).await.unwrap());
    assert_eq!(answer(&mut *one).await, "d");
}

/// Dropping the wait for a reply loses none.
pub async fn waiting_for_a_reply_may_be_interrupted(store: &StoreUnderTest) {
    let here = broadcasts(store.store());
    let mut mailbox = here.await_replies(REPLIES, MOMENT * 60).await.unwrap();
    store.keeps_waiting("a mailbox without replies", &mut std::pin::pin!(mailbox.next())).await;
    let key = mailbox.routing_key().to_owned();
    assert!(here.reply(REPLIES, &key, message("a"), MOMENT).await.unwrap());
    assert_eq!(answer(&mut *mailbox).await, "a");
}

/// What is sent to a mailbox that was closed goes nowhere, as does what it held.
pub async fn a_closed_mailbox_gets_nothing(store: &StoreUnderTest) {
    let here = broadcasts(store.store());
    let mailbox = here.await_replies(REPLIES, MOMENT * 60).await.unwrap();
    let key = mailbox.routing_key().to_owned();
    assert!(here.reply(REPLIES, &key, message("unread"), MOMENT).await.unwrap());
    mailbox.close().await.unwrap();
    assert!(!here.reply(REPLIES, &key, message("late"), MOMENT).await.unwrap());
}

/// A mailbox whose owner is gone without a word is removed, once its time is over, when the next one is opened; those whose time
/// is not over stay.
pub async fn a_mailbox_that_was_left_open_is_removed(store: &StoreUnderTest) {
    let here = broadcasts(store.store());
    let mut left = here.await_replies(REPLIES, MOMENT * 10).await.unwrap();
    let mut in_use = here.await_replies(REPLIES, MOMENT * 60).await.unwrap();
    let keys = [left.routing_key().to_owned(), in_use.routing_key().to_owned()];
    store.advance(MOMENT * 20).await;
    let next = here.await_replies(REPLIES, MOMENT * 60).await.unwrap();
    assert!(!here.reply(REPLIES, &keys[0], message("a"), MOMENT).await.unwrap());
    assert!(here.reply(REPLIES, &keys[1], message("b"), MOMENT).await.unwrap());
    assert_eq!(answer(&mut *in_use).await, "b");
    store.keeps_waiting("a mailbox that was removed", &mut std::pin::pin!(left.next())).await;
    next.close().await.unwrap();
}
