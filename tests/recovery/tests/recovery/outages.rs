//! Servers and networks that fail at random: workers go on within five seconds after each fault, and no task is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use celeriac::prelude::*;
use celeriac::protocol::{QueueName, TaskId};
use celeriac::store::Store;
use celeriac_faults::{Ending, Proxy, Server, Weather};
use celeriac_recovery::diary;
use celeriac_recovery::patient::{at_most_once, in_process, lasts, on_runtime, on_thread};
use fastrand::Rng;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::harness::{Patient, Ward};

/// How many faults there are.
const FAULTS: usize = 200;
/// The time from the end of a fault to the result of a task that was sent then.
const RESUMES: Duration = Duration::from_secs(5);
/// The time in which everything that was sent before has its result.
const SETTLES: Duration = Duration::from_secs(60);
/// The leases of the workers: one that outlasts every fault, and one that does not. For each there are servers, and as
/// many workers on each, all of them at once: most of the time they wait.
const WARDS: [(&str, u32); 5] = [("30", 1), ("30", 1), ("30", 2), ("3", 1), ("3", 2)];

/// How many kinds of tasks there are, and which of them is acknowledged before it runs.
const KINDS_OF_TASKS: usize = 5;
const AT_MOST_ONCE: usize = 0;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The server is killed and started again.
    Kill,
    /// The server is stopped and goes on.
    Pause,
    /// All connections are reset, up to three times.
    Reset,
    /// The server closes its half of all connections.
    HalfClose,
    /// Nothing passes, and what was on its way never arrives.
    BlackHole,
    /// The same on one connection, for ever.
    SilentConnection,
    /// Connections are reset, and nobody can connect.
    Refusal,
    /// Connections are reset in the middle of answers.
    CutAnswers,
}

const KINDS: [Fault; 8] = [
    Fault::Kill,
    Fault::Pause,
    Fault::Reset,
    Fault::HalfClose,
    Fault::BlackHole,
    Fault::SilentConnection,
    Fault::Refusal,
    Fault::CutAnswers,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_of_200_faults_of_redis_work_goes_on_within_5_seconds_and_no_task_is_lost() {
    let seed =
        std::env::var("CELERIAC_TEST_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    println!("CELERIAC_TEST_SEED={seed}");
    let mut dice = Rng::with_seed(seed);
    let mut faults: Vec<Fault> = KINDS.into_iter().cycle().take(FAULTS).collect();
    dice.shuffle(&mut faults);
    let wards: Vec<_> = faults
        .chunks(FAULTS.div_ceil(WARDS.len()))
        .zip(WARDS)
        .map(|(faults, (lease, workers))| {
            tokio::spawn(suffer(faults.to_vec(), lease, workers, dice.fork(), seed))
        })
        .collect();
    let mut all = Account::default();
    for ward in wards {
        all.add(ward.await.unwrap_or_else(|_| panic!("seed {seed}")));
    }
    println!("{all}");
    assert_eq!(all.resumed.values().map(Vec::len).sum::<usize>(), FAULTS);
}

/// What one ward, or all of them, went through.
#[derive(Default)]
struct Account {
    /// From the end of each fault to the first result.
    resumed: BTreeMap<Fault, Vec<Duration>>,
    tasks: usize,
    repeats: usize,
}

impl Account {
    fn add(&mut self, other: Self) {
        for (fault, times) in other.resumed {
            self.resumed.entry(fault).or_default().extend(times);
        }
        self.tasks += other.tasks;
        self.repeats += other.repeats;
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (fault, times) in &self.resumed {
            let mut times = times.clone();
            times.sort_unstable();
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            writeln!(
                f,
                "{fault:?}: {} faults, resumed after {median:.1?} (median) to {longest:.1?}",
                times.len()
            )?;
        }
        write!(f, "{} tasks, {} of them run again", self.tasks, self.repeats)
    }
}

/// One server, and workers that see it through a proxy; the test itself sees it directly.
struct Place {
    server: Server,
    proxy: Proxy,
    ward: Ward,
    _workers: Vec<Patient>,
    app: App,
    store: Store,
    dice: Rng,
    /// In the order of their numbers.
    tasks: Vec<TaskId>,
    /// The numbers of those that are acknowledged before they run.
    early: BTreeSet<usize>,
    /// The numbers of those that had no result when that was looked for last.
    open: BTreeSet<usize>,
    /// For each task, during how many faults it was open.
    endured: BTreeMap<usize, usize>,
}

/// Lets workers suffer these faults, one after the other.
async fn suffer(faults: Vec<Fault>, lease: &str, workers: u32, dice: Rng, seed: u64) -> Account {
    let mut place = Place::new(lease, workers, dice).await;
    let mut account = Account::default();
    for fault in faults {
        if place.dice.bool() {
            // They wait for work when it happens.
            place.until_settled().await;
        } else {
            let tasks = place.dice.usize(10..50);
            place.send(tasks).await;
            // The rhythm of the faults; nothing is expected to have happened after it.
            sleep(place.random(200)).await;
        }
        place.look().await;
        let before = place.tasks.len();
        let ended = place.strike(fault).await;
        let during = before..place.tasks.len();
        for number in
            place.open.iter().copied().filter(|number| !during.contains(number)).chain(during.clone())
        {
            *place.endured.entry(number).or_default() += 1;
        }
        let resumed = place.until_work_goes_on(ended).await;
        assert!(resumed <= RESUMES, "{fault:?}: work went on after {resumed:?}, lease {lease}: seed {seed}");
        account.resumed.entry(fault).or_default().push(resumed);
    }
    place.until_settled().await;
    account.tasks = place.tasks.len();
    account.repeats = place.assert_only_what_was_open_ran_again(seed);
    place.assert_every_result_is_right().await;
    account
}

impl Place {
    async fn new(lease: &str, workers: u32, dice: Rng) -> Self {
        let server = Server::durable();
        let proxy = Proxy::before(server.port());
        // The delivery limit is out of the way: it is about tasks that kill.
        let ward = Ward::on(proxy.url(), server.url(0)).set("worker_lease", lease);
        let mut ward = ward.set("worker_delivery_limit", "1000");
        let workers = (0..workers).map(|_| ward.start_worker()).collect();
        let (app, store) = (ward.app(), ward.store().await);
        let (tasks, early, open, endured) = Default::default();
        let mut place =
            Self { server, proxy, ward, _workers: workers, app, store, dice, tasks, early, open, endured };
        place.send(10).await;
        place.until_settled().await;
        place
    }

    /// Sends so many tasks, of all kinds in turn, some of which last.
    async fn send(&mut self, count: usize) {
        let numbers = self.tasks.len()..self.tasks.len() + count;
        let calls = numbers.clone().map(|number| {
            let short = number as u32;
            match number % KINDS_OF_TASKS {
                AT_MOST_ONCE => at_most_once.s(short),
                1 => on_runtime.s(short),
                2 => on_thread.s(short),
                3 => in_process.s(short),
                _ => lasts.s(short, self.dice.u64(..500)),
            }
        });
        let calls: Vec<_> = calls.collect();
        let sent = self.app.send_many(calls).await.expect("the server is there when something is sent");
        self.tasks.extend(sent.iter().map(|sent| sent.id().clone()));
        self.early.extend(numbers.clone().filter(|number| number % KINDS_OF_TASKS == AT_MOST_ONCE));
        self.open.extend(numbers);
    }

    /// Breaks something for a while; the moment when it was over.
    async fn strike(&mut self, fault: Fault) -> Instant {
        let a_while = self.random(3000);
        match fault {
            Fault::Kill => {
                block_in_place(|| self.server.kill());
                sleep(a_while).await;
                block_in_place(|| self.server.start_again());
            }
            Fault::Pause => {
                self.server.pause();
                sleep(a_while).await;
                self.server.go_on();
            }
            Fault::Reset => {
                for _ in 0..self.dice.u32(..3) {
                    self.proxy.end(Ending::Reset);
                    sleep(a_while / 3).await;
                }
                self.proxy.end(Ending::Reset);
            }
            Fault::HalfClose => self.proxy.end(Ending::HalfClose),
            Fault::BlackHole => self.weather(Weather::BlackHole, a_while * 2).await,
            Fault::SilentConnection => {
                // One of the last; those of the other worker and of former times are among them.
                let back = self.dice.u64(1..4);
                self.proxy.weather(Weather::HoleAt(self.proxy.connections().saturating_sub(back)));
            }
            Fault::Refusal => {
                self.proxy.end(Ending::Reset);
                self.weather(Weather::Refusing, a_while).await;
            }
            Fault::CutAnswers => {
                let bytes = self.dice.u64(..2000);
                self.weather(Weather::AnswersEnd(bytes), a_while / 2).await;
            }
        }
        Instant::now()
    }

    /// Bad weather for that long. Others send tasks in the middle of it.
    async fn weather(&mut self, weather: Weather, time: Duration) {
        self.proxy.weather(weather);
        sleep(time / 2).await;
        self.send(5).await;
        sleep(time / 2).await;
        self.proxy.weather(Weather::Fair);
    }

    /// Sends a task, and waits for its result; how long after that moment it was there.
    async fn until_work_goes_on(&mut self, ended: Instant) -> Duration {
        let queues = [QueueName::new("celery")];
        // The test's own connection may have to be made anew.
        while let Err(error) = self.store.broker().queues(&queues).await {
            assert!(ended.elapsed() < RESUMES, "the server does not answer the test: {error}");
            sleep(Duration::from_millis(10)).await;
        }
        let number = self.tasks.len();
        let call = on_runtime.s(number as u32);
        let probe = call.apply_async(&self.app).await.expect("the server is there");
        self.tasks.push(probe.id().clone());
        self.open.insert(number);
        while let Err(error) = probe.get(RESUMES).await {
            let left = RESUMES.saturating_sub(ended.elapsed());
            assert!(!left.is_zero(), "a task that was sent after a fault has no result: {error}");
        }
        ended.elapsed()
    }

    /// Which tasks have no result.
    async fn look(&mut self) {
        let ids: Vec<TaskId> = self.open.iter().map(|number| self.tasks[*number].clone()).collect();
        let records = self.store.results().get(&ids).await.expect("the server answers");
        let is_ready = |record: &Option<celeriac::protocol::ResultRecord>| {
            record.as_ref().is_some_and(|record| record.state.is_ready())
        };
        let mut ready = records.iter().map(is_ready);
        self.open.retain(|_| !ready.next().unwrap_or(false));
    }

    /// Waits until every task has its result.
    async fn until_settled(&mut self) {
        let until = Instant::now() + SETTLES;
        loop {
            self.look().await;
            let Some(number) = self.open.first().copied() else { return };
            assert!(Instant::now() < until, "task {number} and {} more are lost", self.open.len() - 1);
            let id = self.tasks[number].clone();
            let waiting = self.store.results().wait(std::slice::from_ref(&id));
            let _ = tokio::time::timeout(Duration::from_secs(1), waiting).await;
        }
    }

    /// How many starts there were beyond the first of each task. None of them without a fault that explains it.
    fn assert_only_what_was_open_ran_again(&self, seed: u64) -> usize {
        let starts = diary::starts(&self.ward.diary()).expect("the diary is readable");
        assert_eq!(starts.len(), self.tasks.len(), "a task was never started: seed {seed}");
        for (number, by) in &starts {
            let number = *number as usize;
            let endured = self.endured.get(&number).copied().unwrap_or(0);
            // What is acknowledged before it runs is never lent again.
            let endured = if self.early.contains(&number) { 0 } else { endured };
            assert!(
                by.len() <= 1 + endured,
                "task {number} ran {} times in {endured} faults: seed {seed}",
                by.len()
            );
        }
        starts.values().map(|by| by.len() - 1).sum()
    }

    async fn assert_every_result_is_right(&self) {
        let records = self.store.results().get(&self.tasks).await.expect("the server answers");
        for (number, record) in records.into_iter().enumerate() {
            let record = record.unwrap_or_else(|| panic!("task {number} has no result"));
            assert_eq!(record.state, State::Success, "task {number}");
            assert_eq!(record.result, (number as i64 * 2).into(), "task {number}");
        }
    }

    fn random(&mut self, most_millis: u64) -> Duration {
        Duration::from_millis(self.dice.u64(..=most_millis))
    }
}
