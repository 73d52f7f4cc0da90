//! A consumer in the hands of a law.

use std::sync::Arc;

use celeriac_protocol::State;

use super::subject::{reason, result, within};
use crate::{Consumer, Delivery, DeliveryTag, Finish, Lease, Settle, Settled, Settler, Subscription};

/// One subscription, all of whose waiting has a deadline.
pub(super) struct Consuming {
    pub(super) consumer: Box<dyn Consumer>,
    pub(super) settler: Arc<dyn Settler>,
    pub(super) lease: Arc<dyn Lease>,
}

impl Consuming {
    pub(super) fn new(subscription: Subscription) -> Self {
        let Subscription { consumer, settler, lease } = subscription;
        Self { consumer, settler, lease }
    }

    /// What one fetch brings.
    pub(super) async fn fetch(&mut self, limit: usize) -> Vec<Delivery> {
        let deliveries = within("a delivery", self.consumer.fetch(limit)).await.unwrap();
        assert!(!deliveries.is_empty(), "a fetch returned nothing");
        assert!(deliveries.len() <= limit, "a fetch returned more than its limit");
        deliveries
    }

    /// The next delivery.
    pub(super) async fn one(&mut self) -> Delivery {
        self.fetch(1).await.remove(0)
    }

    /// The next `count` deliveries, in as many fetches as that takes.
    pub(super) async fn several(&mut self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < count {
            deliveries.extend(self.fetch(count - deliveries.len()).await);
        }
        deliveries
    }

    pub(super) async fn finish(&self, finish: Finish) -> Settled {
        let answers = self.settler.finish(vec![finish]).await.unwrap();
        assert_eq!(answers.len(), 1, "one answer for one finish");
        answers[0]
    }

    /// Says that the task of this delivery is about to run.
    pub(super) async fn start(&self, delivery: &Delivery) {
        self.settler.started(vec![delivery.tag]).await.unwrap();
    }

    /// Settles all of these in one call, each of which must be ours.
    pub(super) async fn settle(&self, deliveries: &[Delivery], settle: Settle) {
        settle_all(&*self.settler, deliveries, settle).await;
    }

    pub(super) async fn ack(&self, delivery: &Delivery) {
        self.settle(std::slice::from_ref(delivery), Settle::Ack).await;
    }

    /// Moves a delivery to the failed tasks, with a result.
    pub(super) async fn fail(&self, delivery: &Delivery, code: &str) {
        let id = delivery.message.headers.id.as_ref().map(|id| result(id.as_str(), State::Failure));
        let finish = Finish { result: id, ..settling(delivery.tag, Settle::Fail(reason(code))) };
        assert_eq!(self.finish(finish).await, Settled::Done);
    }
}

/// Settles all of these in one call, each of which must be ours.
pub(super) async fn settle_all(settler: &dyn Settler, deliveries: &[Delivery], settle: Settle) {
    let finishes = deliveries.iter().map(|delivery| settling(delivery.tag, settle.clone())).collect();
    let answers = settler.finish(finishes).await.unwrap();
    assert_eq!(answers, vec![Settled::Done; deliveries.len()]);
}

/// Settles a delivery and does nothing else.
pub(super) fn settling(tag: DeliveryTag, settle: Settle) -> Finish {
    Finish { delivery: Some(tag), settle, result: None, follow_ups: Vec::new(), workflow: None }
}

/// The task ids of deliveries, in their order.
pub(super) fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(id).collect()
}

pub(super) fn id(delivery: &Delivery) -> &str {
    delivery.message.headers.id.as_ref().map_or("", |id| id.as_str())
}
