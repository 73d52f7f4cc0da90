//! Publishing, lending and settling.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Headers, QueueName, TaskId};

use super::queues::ConsumerTerms;
use super::{Look, MemoryStore};
use crate::{
    Binding, Broker, Capabilities, ConsumeOptions, Consumer, Delivery, DeliveryTag, Error, Finish, Lease,
    Located, Publication, Publish, QueueStats, Result, Search, Settled, Settler, Sightings, StoreResult,
    Subscription,
};

#[async_trait]
impl Broker for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: false, shared: false, ..Capabilities::ALL }
    }

    async fn publish(&self, publication: Publication) -> Result<()> {
        self.check_publication(&publication)?;
        self.change(|state, now| state.publish(publication, now));
        Ok(())
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription> {
        let ConsumeOptions { queues, prefetch, lease, worker } = options;
        let terms = self.change(|state, now| {
            queues.iter().for_each(|queue| state.queues.create(queue));
            let number = state.queues.next_number();
            let terms = ConsumerTerms { number, queues, prefetch: prefetch.max(1), lease, worker };
            state.queues.attend(&terms, now);
            terms
        });
        let (number, lease) = (terms.number, terms.lease);
        let terms = Mutex::new(terms);
        let closed = AtomicBool::new(false);
        let subscriber = Arc::new(Subscriber { store: self.clone(), number, lease, terms, closed });
        Ok(Subscription {
            consumer: Box::new(MemoryConsumer(Arc::clone(&subscriber))),
            settler: subscriber.clone(),
            lease: subscriber,
        })
    }

    async fn bind(&self, bindings: &[Binding]) -> Result<()> {
        // No other program can publish here.
        self.change(|state, _| bindings.iter().for_each(|binding| state.queues.create(&binding.queue)));
        Ok(())
    }

    async fn queues(&self, names: &[QueueName]) -> Result<Vec<QueueStats>> {
        Ok(self.read(|state| {
            let all = if names.is_empty() { state.queues.names() } else { Vec::new() };
            names.iter().chain(&all).map(|queue| state.queues.stats(queue)).collect()
        }))
    }

    async fn rehearse_fetch(&self) -> Result<()> {
        Ok(())
    }

    async fn first_waiting(&self, names: &[QueueName]) -> Result<Vec<Vec<Headers>>> {
        Ok(self.read(|state| names.iter().map(|queue| state.first_waiting(queue)).collect()))
    }

    async fn purge(&self, queue: &QueueName) -> Result<u64> {
        Ok(self.change(|state, _| state.queues.purge(queue)))
    }

    async fn locate(&self, ids: &[TaskId], _: usize) -> Result<Located> {
        Ok(Located { places: self.read(|state| state.locate(ids)), is_complete: true })
    }

    async fn search(&self, search: Search<'_>) -> Result<Sightings> {
        Ok(self.read(|state| state.search(search)))
    }
}

impl MemoryStore {
    pub(super) fn check_messages(&self, messages: &[Publish]) -> Result<()> {
        messages.iter().try_for_each(|Publish { message, .. }| {
            let id = message.headers.id.as_ref();
            let size = message.encode_head().len() + message.body.len();
            self.check_size(size, || format!("message {}", id.map_or("without id", |id| id.as_str())))
        })
    }

    pub(super) fn check_result(&self, result: &StoreResult) -> Result<()> {
        result.to_bytes(self.shared.largest).map(drop)
    }

    pub(super) fn check_size(&self, size: usize, what: impl FnOnce() -> String) -> Result<()> {
        let limit = self.shared.largest;
        if size > limit { Err(Error::TooLarge { what: what(), size, limit }) } else { Ok(()) }
    }
}

/// One consumer, in all its parts.
struct Subscriber {
    store: MemoryStore,
    number: u64,
    lease: Duration,
    terms: Mutex<ConsumerTerms>,
    closed: AtomicBool,
}

impl Subscriber {
    fn terms(&self) -> MutexGuard<'_, ConsumerTerms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryConsumer(Arc<Subscriber>);

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn fetch(&mut self, limit: usize) -> Result<Vec<Delivery>> {
        let subscriber = &*self.0;
        let Subscriber { store, closed, .. } = subscriber;
        store
            .look_for(|state, now| {
                if closed.load(Ordering::Relaxed) {
                    return Look::Found(Err(Error::Closed));
                }
                let deliveries = state.take(&subscriber.terms(), limit.max(1), now);
                if deliveries.is_empty() {
                    Look::Nothing(state.queues.next_event())
                } else {
                    Look::Found(Ok(deliveries))
                }
            })
            .await
    }

    async fn consume_from(&mut self, queues: Vec<QueueName>) -> Result<()> {
        self.0.store.change(|state, _| {
            queues.iter().for_each(|queue| state.queues.create(queue));
            state.queues.move_consumer(self.0.number, &queues);
            self.0.terms().queues = queues;
        });
        Ok(())
    }
}

#[async_trait]
impl Settler for Subscriber {
    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Settled>> {
        for finish in &finishes {
            self.store.check_messages(&finish.follow_ups)?;
            finish.result.iter().try_for_each(|result| self.store.check_result(result))?;
            finish.workflow.iter().try_for_each(|workflow| self.store.check_consequences(workflow))?;
        }
        Ok(self.store.change(|state, now| {
            finishes.into_iter().map(|finish| state.finish(self.number, finish, now)).collect()
        }))
    }

    async fn started(&self, tags: Vec<DeliveryTag>) -> Result<()> {
        self.store.change(|state, _| state.queues.start(self.number, &tags));
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.store.change(|state, _| {
            // Set under the lock, so that no fetch takes anything after this.
            self.closed.store(true, Ordering::Relaxed);
            state.queues.leave(self.number);
        });
        Ok(())
    }
}

#[async_trait]
impl Lease for Subscriber {
    fn length(&self) -> Duration {
        self.lease
    }

    async fn renew(&self) -> Result<()> {
        self.store.change(|state, now| {
            if !self.closed.load(Ordering::Relaxed) {
                state.queues.renew(&self.terms(), now);
            }
        });
        Ok(())
    }
}
