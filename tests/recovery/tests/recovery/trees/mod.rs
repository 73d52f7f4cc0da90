//! Random compositions with random failures, while workers and servers are killed at random: each of their tasks ends as if
//! everything had run one after the other, and nothing stays behind.

mod grove;
mod remains;

use std::collections::BTreeMap;
use std::time::Duration;

use celeriac_faults::{Proxy, Server};
use fastrand::Rng;

use crate::harness::Ward;
use grove::Grove;
use remains::Remains;

/// How long compositions are sent and things broken; what is open then is awaited. `CELERIAC_TREES_SECONDS` says otherwise.
const STORM: Duration = Duration::from_secs(20);
/// Servers of Redis, each with workers of its own: after a fault most of the time passes in waiting.
const SERVERS: usize = 3;

/// What happened.
#[derive(Default)]
struct Account {
    trees: usize,
    tasks: usize,
    failed: usize,
    kills: usize,
    repeats: usize,
    faults: BTreeMap<&'static str, usize>,
}

impl Account {
    fn add(&mut self, other: Self) {
        self.trees += other.trees;
        self.tasks += other.tasks;
        self.failed += other.failed;
        self.kills += other.kills;
        self.repeats += other.repeats;
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { trees, tasks, failed, kills, repeats, faults } = self;
        write!(
            f,
            "{trees} compositions of {tasks} tasks, {failed} of which failed or never ran; {kills} kills of workers, \
             faults of servers {faults:?}; {repeats} runs repeated"
        )
    }
}

fn seed() -> u64 {
    let seed =
        std::env::var("CELERIAC_TEST_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    println!("CELERIAC_TEST_SEED={seed}");
    seed
}

fn storm() -> Duration {
    let seconds = std::env::var("CELERIAC_TREES_SECONDS").map(|text| text.parse().unwrap());
    seconds.map_or(STORM, Duration::from_secs)
}

/// The delivery limit is out of the way: it is about tasks that kill.
fn hardened(ward: Ward) -> Ward {
    ward.quiet().set("worker_lease", "2").set("worker_delivery_limit", "1000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn random_compositions_on_sqlite_end_as_if_run_in_order_while_workers_are_killed() {
    let ward = hardened(Ward::new());
    let remains = Remains::in_file(ward.file());
    let account = Grove::new(ward, None, seed(), 3).await.suffer(storm(), remains).await;
    println!("SQLite: {account}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_compositions_on_redis_end_as_if_run_in_order_while_workers_and_servers_are_killed() {
    let seed = seed();
    let mut dice = Rng::with_seed(seed);
    let groves: Vec<_> = (0..SERVERS)
        .map(|_| {
            let own = dice.u64(..);
            tokio::spawn(async move {
                let server = Server::durable();
                let proxy = Proxy::before(server.port());
                let ward = hardened(Ward::on(proxy.url(), server.url(0)));
                let remains = Remains::on_server(&server.url(0));
                Grove::new(ward, Some((server, proxy)), own, 2).await.suffer(storm(), remains).await
            })
        })
        .collect();
    let mut all = Account::default();
    for grove in groves {
        all.add(grove.await.unwrap_or_else(|_| panic!("seed {seed}")));
    }
    println!("Redis: {all}");
}
