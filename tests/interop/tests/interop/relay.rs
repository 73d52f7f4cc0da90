//! A chain that changes hands at every step, while those who run it are killed.

use std::time::{Duration, Instant};

use celeriac::canvas::Apply;
use celeriac::prelude::*;
use celeriac::protocol::{self, TaskId};

use super::harness::{Broker, DEADLINE, Program};

/// From ours to the stock worker and back, a thousand times.
const STEPS: i64 = 2000;
/// How often somebody is killed.
const KILLS: usize = 12;

/// The two workers, of which either may be killed.
struct Workers<'broker> {
    broker: &'broker Broker,
    ours: Program,
    stock: Program,
}

impl<'broker> Workers<'broker> {
    fn start(broker: &'broker Broker) -> Self {
        Self { broker, ours: Self::ours(broker), stock: broker.stock_canvas_worker() }
    }

    fn ours(broker: &Broker) -> Program {
        broker.rust_canvas_worker(&[("CELERIAC_WORKER_LEASE", "3")])
    }

    /// Kills one with its children, as the end of its machine does, and starts another in its place.
    fn kill_ours(&mut self) {
        self.ours = Self::ours(self.broker);
    }

    /// As [`Workers::kill_ours`], but not in the moment in which kombu loses a message: it takes one, and notes in a second
    /// step that it did. Ours stands still meanwhile: what it sends would go to the one that waits, and is about to die.
    fn kill_stock(&mut self) {
        let mut redis = self.broker.redis();
        let until = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < until, "the message is nowhere, and the chain has not ended");
            self.stock.pause();
            self.ours.pause();
            // After the second answer the server has done whatever either had asked for.
            let [_, held] = [(); 2].map(|()| held(&mut redis));
            // Or there is nothing left to lose.
            if held || is_over(&mut redis) {
                break;
            }
            self.stock.go_on();
            self.ours.go_on();
            std::thread::yield_now();
        }
        self.stock = self.broker.stock_canvas_worker();
        self.ours.go_on();
    }
}

/// Whether the message is in a queue, or noted as taken.
fn held(redis: &mut redis::Connection) -> bool {
    let places: [u64; 3] = redis::pipe()
        .atomic()
        .hlen("unacked")
        .llen("ours")
        .llen("stock")
        .query(redis)
        .expect("the server answers");
    places != [0; 3]
}

fn is_over(redis: &mut redis::Connection) -> bool {
    redis::Commands::exists(redis, format!("celery-task-meta-relay-{}", STEPS - 1))
        .expect("the server answers")
}

/// A chain of steps that add one, each with an id of its own, in turn for ours and for the stock worker.
fn relay() -> (protocol::Signature, Vec<TaskId>) {
    let mut ids = Vec::new();
    let mut steps = Vec::new();
    for step in 0..STEPS {
        let mut add = protocol::Signature::new("canvas.add");
        add.args = if step == 0 { vec![0.into(), 1.into()] } else { vec![1.into()] };
        let id = TaskId::from(format!("relay-{step}").as_str());
        let queue = if step % 2 == 0 { "ours" } else { "stock" };
        add.options = vec![("task_id".into(), id.as_str().into()), ("queue".into(), queue.into())];
        steps.push(add.into_value());
        ids.push(id);
    }
    let mut chain = protocol::Signature::new("celery.chain");
    chain.kwargs = vec![("tasks".into(), Value::List(steps))];
    chain.subtask_type = Some("chain".into());
    (chain, ids)
}

/// Whoever is killed, whenever, the chain goes on, and every step has counted once.
#[tokio::test]
async fn a_relay_of_two_thousand_steps_ends_with_the_right_number() {
    let seed = std::env::var("CELERIAC_TEST_SEED").map_or(fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CELERIAC_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let broker = Broker::with_options(r#"{"visibility_timeout": 2}"#, "");
    let app = broker.app();
    let mut workers = Workers::start(&broker);
    let (chain, ids) = relay();
    let unfolded = app.unfold(chain, Apply::default()).unwrap();
    app.store().await.unwrap().publish(unfolded.publication).await.unwrap();

    let stretch = ids.len() / KILLS;
    for part in ids.chunks(stretch) {
        let until = &part[random.usize(..part.len())];
        // Some hundred steps, and the start of whoever was killed.
        app.result::<i64>(until.clone()).get(3 * DEADLINE).await.unwrap();
        // Some way into a step.
        tokio::time::sleep(Duration::from_micros(random.u64(..20_000))).await;
        if random.bool() { workers.kill_ours() } else { workers.kill_stock() }
    }
    let last = app.result::<i64>(ids[ids.len() - 1].clone());
    assert_eq!(last.get(DEADLINE).await.unwrap(), STEPS, "seed {seed}");
    for (step, id) in (1..).zip(&ids) {
        let counted = app.result::<i64>(id.clone()).get(DEADLINE).await.unwrap();
        assert_eq!(counted, step, "step {id}, seed {seed}");
    }
}
