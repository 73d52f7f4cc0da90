//! How much the loop asks for.

use std::time::Duration;

use celeriac_app::resource::{HealthBoard, ProcessKind, ResourcePlan, SharedSet};
use celeriac_app::{App, Process, Reporter, Workplace};
use celeriac_protocol::TaskId;
use celeriac_store::{ConsumerId, Delivery};
use tokio::sync::mpsc;

use super::*;
use crate::consumer::{Parts, Wires};
use crate::fetcher::Arrival;
use crate::pool::{Events, Kill, StopReason};
use crate::prefetch::Prefetch;
use crate::reports::Reports;
use crate::shutdown::Stopper;
use crate::{Options, Shutdown, testing};

/// A pool whose jobs never end.
struct Stuck {
    kind: PoolKind,
    slots: usize,
    jobs: usize,
}

impl Pool for Stuck {
    fn kind(&self) -> PoolKind {
        self.kind
    }

    fn size(&self) -> usize {
        self.slots
    }

    fn free(&self) -> usize {
        self.slots - self.jobs
    }

    fn submit(&mut self, _: Job) {
        self.jobs += 1;
    }

    fn ask(&mut self, _: &Request, _: StopReason) {}

    fn kill(&mut self, _: &Request, _: StopReason) -> Kill {
        Kill::Unable
    }

    fn finished(&mut self, _: &Request) {}

    fn close(&mut self, _: bool) {}

    fn resize(&mut self, _: usize, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn facts(&self) -> Value {
        Value::Null
    }
}

struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &TaskId, _: State, _: Value) {}
}

/// A loop before a store that nobody asks but this test.
struct Bench {
    consumer: Consumer,
    asked: mpsc::Receiver<usize>,
    held: usize,
    /// The other ends of what the loop does not hear of here.
    _ends: (Stopper, mpsc::UnboundedReceiver<Item>),
}

impl Bench {
    /// A loop that is ready, with pools of so many slots; the tasks are for the first.
    fn new(slots: &[usize], multiplier: usize) -> Self {
        let (events, pools) = Events::channel();
        let (own_inputs, inputs) = mpsc::unbounded_channel();
        let (stopper, shutdown) = Shutdown::new();
        let (limits, asked) = mpsc::channel(1);
        let (items, finishes) = mpsc::unbounded_channel();
        let wires = Wires {
            _events: events,
            pools,
            inputs,
            own_inputs,
            renewed: mpsc::channel(1).1,
            shutdown,
            limits: Some(limits),
            queues: mpsc::unbounded_channel().0,
            items,
            records: mpsc::channel(1).0,
        };
        let options = Options::default();
        let app = App::new("test").task(testing::task());
        let process = Process::this(&options.node_name, ProcessKind::Worker);
        let plan = ResourcePlan::for_tasks(&[], []).unwrap();
        let place = Workplace {
            app: app.clone(),
            process: process.clone(),
            shared: Arc::new(SharedSet::empty(&process)),
            reporter: Arc::new(Silent),
        };
        let lane = |(kind, slots): (&PoolKind, &usize)| {
            Lane::new(Box::new(Stuck { kind: *kind, slots: *slots, jobs: 0 }))
        };
        let mut consumer = Consumer::new(Parts {
            app,
            options: Arc::new(options),
            rules: Arc::new(testing::rules()),
            place: Arc::new(place),
            health: HealthBoard::new(&plan, process),
            reports: Arc::new(Reports::default()),
            wires,
            lanes: PoolKind::ALL.iter().zip(slots).map(lane).collect(),
            prefetch: Prefetch::new(slots.iter().sum(), multiplier),
            queues: Vec::new(),
            id: ConsumerId("test".to_owned()),
            watch: None,
            counts: None,
            signs: None,
        });
        consumer.start_waiting();
        Self { consumer, asked, held: 0, _ends: (stopper, finishes) }
    }

    /// A turn of the loop. Says for how many it asks.
    fn turns(&mut self) -> usize {
        self.consumer.dispatch();
        self.consumer.fetch(0);
        self.asked.try_recv().unwrap_or(0)
    }

    /// The store brings so many. Says for how many the loop asks before it turns again.
    fn brings(&mut self, count: usize) -> usize {
        let arrival = |number: usize| {
            let delivery = testing::delivery(number as u64);
            let mut message = delivery.message.clone();
            message.headers.id = Some(TaskId::new(number.to_string()));
            Arrival { delivery: Delivery { message, ..delivery }, revoked: false, stamp: None }
        };
        let arrivals = (self.held..self.held + count).map(arrival).collect();
        self.held += count;
        self.consumer.fetched(arrivals);
        self.asked.try_recv().unwrap_or(0)
    }
}

/// What a pool of two slots may hold, by the multiplier and by what it has run in a tenth of a second.
const SHARES: [(usize, usize, usize); 4] = [(1, 0, 2), (4, 0, 8), (1, 60, 2), (4, 60, 60)];

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_and_what_has_come_are_no_more_than_the_share() {
    for (multiplier, pace, share) in SHARES {
        for first in 0..=share {
            let mut bench = Bench::new(&[2], multiplier);
            let lane = &mut bench.consumer.lanes[0];
            lane.pace.count(pace, Instant::now());
            tokio::time::advance(Duration::from_millis(100)).await;
            bench.consumer.lanes[0].pace.count(0, Instant::now());
            let mut asked = bench.turns();
            assert_eq!(asked, share, "it has nothing yet");
            let mut comes = first;
            // Whatever it asks for comes, until it asks for nothing more.
            while asked > 0 {
                asked = bench.brings(comes);
                assert!(bench.held + asked <= share, "{} of {share} are here, {asked} asked for", bench.held);
                let later = bench.turns();
                assert!(asked == 0 || later == 0, "one question at a time");
                asked += later;
                assert!(bench.held + asked <= share, "{} of {share} are here, {asked} asked for", bench.held);
                comes = asked;
            }
            assert!(bench.held * 4 > share * 3, "{} of {share}", bench.held);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_looks_for_more_before_what_has_come_is_taken_in() {
    let mut bench = Bench::new(&[2], 4);
    assert_eq!(bench.turns(), 8);
    assert_eq!(bench.brings(3), 5);
}

#[tokio::test(start_paused = true)]
async fn what_has_come_may_be_for_any_pool() {
    let mut bench = Bench::new(&[2, 2], 4);
    assert_eq!(bench.turns(), 8);
    assert_eq!(bench.brings(3), 5);
}

#[tokio::test(start_paused = true)]
async fn an_idle_pool_that_nothing_comes_for_takes_no_more_than_the_most() {
    let mut bench = Bench::new(&[2, 2], 1);
    let most = bench.consumer.prefetch.most();
    let mut asked = bench.turns();
    while asked > 0 {
        asked = bench.brings(1);
        assert!(bench.held + asked <= most, "{} of {most} are here, {asked} asked for", bench.held);
        asked = asked.max(bench.turns());
        assert!(bench.held + asked <= most, "{} of {most} are here, {asked} asked for", bench.held);
    }
    assert_eq!(bench.held, most);
}
