//! What publishing promises.

use bytes::Bytes;
use celeriac_protocol::{Message, TaskId, TimeLimits, Value};

use super::consuming::ids;
use super::subject::{message, oversized_message, publish, queue, queue_of, within};
use super::{START, StoreUnderTest};
use crate::Error;

/// Messages of one queue come in the order of their publishing, over calls and within each.
pub async fn messages_come_in_the_order_of_publishing(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c"]).await;
    store.publish(&queue(), &["d"]).await;
    store.publish(&queue(), &["e", "f"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    assert_eq!(ids(&consuming.several(6).await), ["a", "b", "c", "d", "e", "f"]);
}

/// Headers, properties and body come out as they went in, whatever they are.
pub async fn a_message_arrives_as_it_was_published(store: &StoreUnderTest) {
    let mut sent = message("rich");
    let headers = &mut sent.headers;
    headers.lang = Some("py".into());
    headers.shadow = Some("überschrieben".into());
    headers.eta = Some(START);
    headers.group = Some("g".into());
    headers.group_index = Some(3);
    headers.retries = 2;
    headers.timelimit = TimeLimits { hard: None, soft: Some(std::time::Duration::from_millis(1500)) };
    headers.root_id = Some(TaskId::new("root"));
    headers.argsrepr = Some("('\\x00', \"quoted\")".into());
    headers.ignore_result = Some(true);
    headers.other = vec![
        (
            "stamps".into(),
            Value::Map(vec![("z".into(), Value::Int(1)), ("a".into(), Value::List(vec![Value::Null]))]),
        ),
        ("big".into(), Value::BigInt("123456789012345678901234567890".into())),
    ];
    sent.properties.correlation_id = Some("rich".into());
    sent.properties.reply_to = Some("replies".into());
    sent.properties.priority = Some(4);
    sent.properties.delivery_mode = Some(2);
    sent.body = Bytes::from_iter((0..=255).cycle().take(3000));

    store.broker().publish(vec![publish(&queue(), sent.clone())].into()).await.unwrap();
    let delivery = store.consume(&[&queue()]).await.one().await;
    assert_eq!(delivery.queue, queue());
    let mut came = delivery.message;
    // A server may add properties of its own, as kombu does.
    came.properties.other.clear();
    assert_eq!(came, sent);
}

/// A message that calls no task and has no id, as in protocol 1, is carried like any other.
pub async fn a_message_without_an_id_arrives(store: &StoreUnderTest) {
    let sent = Message { body: Bytes::from_static(b"{\"task\": \"old\"}"), ..message("x") };
    let sent = Message { headers: Default::default(), ..sent };
    store.broker().publish(vec![publish(&queue(), sent)].into()).await.unwrap();
    let delivery = store.consume(&[&queue()]).await.one().await;
    assert_eq!(delivery.message.headers.id, None);
    assert_eq!(&delivery.message.body[..], b"{\"task\": \"old\"}");
}

/// Nobody ever sees a part of what one call publishes.
pub async fn messages_of_one_call_become_visible_together(store: &StoreUnderTest) {
    const CALLS: u64 = 20;
    let elsewhere = store.elsewhere().await;
    let publisher = tokio::spawn(async move {
        for call in 0..CALLS {
            let batch = (0..10).map(|n| publish(&queue(), message(&format!("{call}-{n}")))).collect();
            elsewhere.broker().publish(batch).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    within("the last call", async {
        loop {
            let ready = store.stats(&queue()).await.ready;
            assert_eq!(ready % 10, 0, "a call was visible in part");
            if ready == 10 * CALLS {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    publisher.await.unwrap();
}

/// One message over the limit names itself and keeps the others of its call from being published.
pub async fn a_message_over_the_limit_publishes_nothing(store: &StoreUnderTest) {
    let batch = vec![publish(&queue(), message("small")), publish(&queue(), oversized_message("large"))];
    match store.broker().publish(batch.into()).await {
        Err(Error::TooLarge { what, size, limit }) => {
            assert!(what.contains("large"), "{what:?} names the message");
            assert!(size > limit);
        }
        other => panic!("a message over the limit: {other:?}"),
    }
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// Publishing no messages is no error.
pub async fn publishing_nothing_does_nothing(store: &StoreUnderTest) {
    store.broker().publish(Vec::new().into()).await.unwrap();
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// One call may publish to many queues, which are created by it.
pub async fn one_call_publishes_to_many_queues(store: &StoreUnderTest) {
    let queues: Vec<_> = (0..5).map(|n| queue_of(&format!("q{n}"))).collect();
    let batch = queues.iter().map(|queue| publish(queue, message(queue.as_str()))).collect();
    store.broker().publish(batch).await.unwrap();
    for queue in &queues {
        assert_eq!(ids(&store.consume(&[queue]).await.several(1).await), [queue.as_str()]);
    }
}

/// What was published, the broker owns: it stays when the publisher goes.
pub async fn a_message_outlives_its_publisher(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    elsewhere.broker().publish(vec![publish(&queue(), message("m"))].into()).await.unwrap();
    drop(elsewhere);
    assert_eq!(ids(&store.consume(&[&queue()]).await.several(1).await), ["m"]);
}

/// A large message below the limit arrives whole.
pub async fn a_message_just_below_the_limit_arrives(store: &StoreUnderTest) {
    let body = Bytes::from(vec![b'x'; super::LIMIT - 4096]);
    let large = Message { body: body.clone(), ..message("large") };
    store.broker().publish(vec![publish(&queue(), large)].into()).await.unwrap();
    assert_eq!(store.consume(&[&queue()]).await.one().await.message.body, body);
}

/// Messages of one task, as a retry is, are messages of their own.
pub async fn two_messages_of_one_task_are_two(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let deliveries = consuming.several(2).await;
    assert_ne!(deliveries[0].tag, deliveries[1].tag);
    consuming.ack(&deliveries[0]).await;
    consuming.settler.close().await.unwrap();
    assert_eq!(store.stats(&queue()).await.ready, 1);
}

/// A queue may have any name, and names that look alike are different queues.
pub async fn a_queue_may_have_any_name(store: &StoreUnderTest) {
    let names = ["Law", "law", "l'a\"w", "law ", "%", "_", "ünï/cøde.*#", "law\u{6}\u{16}3"];
    let names = if store.capabilities().priorities == 4 { &names[..7] } else { &names[..] };
    for name in names {
        store.publish(&queue_of(name), &[name]).await;
    }
    for name in names {
        let deliveries = store.consume(&[&queue_of(name)]).await.several(1).await;
        assert_eq!((ids(&deliveries), deliveries[0].queue.as_str()), (vec![*name], *name));
    }
}
