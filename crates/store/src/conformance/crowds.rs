//! What holds when many work on one queue at once.

use tokio::sync::watch;

use super::consuming::{id, settle_all, settling};
use super::subject::{consume_options, message, publish, queue, within};
use super::{Consuming, StoreUnderTest};
use crate::{Delivery, Settle, Settled, Settler, Store};

const MESSAGES: usize = 600;

/// Publishes all messages from two sides in batches.
async fn publish_all(store: &StoreUnderTest) -> Vec<tokio::task::JoinHandle<()>> {
    let mut publishers = Vec::new();
    for side in 0..2 {
        let elsewhere = store.elsewhere().await;
        publishers.push(tokio::spawn(async move {
            for start in (0..MESSAGES / 2).step_by(25) {
                let numbers = start..start + 25;
                let batch = numbers.map(|n| publish(&queue(), message(&format!("{side}-{n:03}")))).collect();
                elsewhere.broker().publish(batch).await.unwrap();
                tokio::task::yield_now().await;
            }
        }));
    }
    publishers
}

async fn consume_from(store: &Store) -> Consuming {
    Consuming::new(store.broker().consume(consume_options(&[&queue()])).await.unwrap())
}

/// Panics unless every message was done, and only once.
fn assert_each_once(mut done: Vec<String>) {
    done.sort_unstable();
    let mut expected: Vec<String> =
        (0..2).flat_map(|side| (0..MESSAGES / 2).map(move |n| format!("{side}-{n:03}"))).collect();
    expected.sort_unstable();
    assert_eq!(done, expected);
}

/// How far all consumers are together.
#[derive(Clone)]
struct Progress(watch::Sender<usize>);

impl Progress {
    fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    fn add(&self, done: usize) {
        self.0.send_modify(|count| *count += done);
    }

    /// Waits until every message is done.
    async fn everything(&self) {
        self.0.subscribe().wait_for(|count| *count >= MESSAGES).await.unwrap();
    }
}

/// The next deliveries, unless every message is done.
async fn fetch_more(consuming: &mut Consuming, progress: &Progress) -> Option<Vec<Delivery>> {
    tokio::select! {
        deliveries = consuming.consumer.fetch(40) => Some(deliveries.unwrap()),
        () = progress.everything() => None,
    }
}

/// Acknowledges deliveries that are ours, and says which they were.
async fn acknowledge(settler: &dyn Settler, deliveries: &[Delivery]) -> Vec<String> {
    settle_all(settler, deliveries, Settle::Ack).await;
    deliveries.iter().map(|delivery| id(delivery).to_owned()).collect()
}

/// Many consumers at once share the messages; each message is delivered once.
pub async fn many_consumers_get_each_message_once(store: &StoreUnderTest) {
    let progress = Progress::new();
    let mut consumers = Vec::new();
    for _ in 0..3 {
        let elsewhere = store.elsewhere().await;
        for _ in 0..3 {
            let (mut consuming, progress) = (consume_from(&elsewhere).await, progress.clone());
            consumers.push(tokio::spawn(async move {
                let mut done = Vec::new();
                while let Some(deliveries) = fetch_more(&mut consuming, &progress).await {
                    done.extend(acknowledge(&*consuming.settler, &deliveries).await);
                    progress.add(deliveries.len());
                }
                done
            }));
        }
    }
    let publishers = publish_all(store).await;
    let mut done = Vec::new();
    for consumer in consumers {
        done.extend(within("every message", consumer).await.unwrap());
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_each_once(done);
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// Consumers come, do some of what they take and close, again and again; each message is done once.
pub async fn consumers_that_come_and_go_lose_nothing(store: &StoreUnderTest) {
    let progress = Progress::new();
    let mut workers = Vec::new();
    for worker in 0..4 {
        let (elsewhere, progress) = (store.elsewhere().await, progress.clone());
        workers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            loop {
                let mut consuming = consume_from(&elsewhere).await;
                let Some(deliveries) = fetch_more(&mut consuming, &progress).await else { break done };
                assert!(deliveries.iter().all(|delivery| delivery.deliveries == 1), "closing does not count");
                let (finished, left) = deliveries.split_at(deliveries.len().min(10 + worker));
                done.extend(acknowledge(&*consuming.settler, finished).await);
                consuming.settler.close().await.unwrap();
                progress.add(finished.len());
                let late = left.iter().map(|delivery| settling(delivery.tag, Settle::Ack)).collect();
                assert_eq!(consuming.settler.finish(late).await.unwrap(), vec![Settled::Lost; left.len()]);
            }
        }));
    }
    for publisher in publish_all(store).await {
        publisher.await.unwrap();
    }
    let mut done = Vec::new();
    for worker in workers {
        done.extend(within("every message", worker).await.unwrap());
    }
    assert_each_once(done);
}
