//! The input loop of a worker: everything that happens comes in here, one thing after the other.
//!
//! - [`intake`]: deliveries become requests, or are settled at once;
//! - [`acknowledging`]: what is acknowledged as it starts;
//! - [`dispatch`]: requests wait for a slot of their pool and get it;
//! - [`readiness`]: what cannot run yet keeps nothing else from running;
//! - [`suspects`]: requests on their last chance wait for one another;
//! - [`ending`]: requests end, and their outcome becomes durable;
//! - [`deadlines`]: time limits and revocations end requests from outside;
//! - [`changed`]: limits that somebody has set while the worker runs;
//! - [`python`]: what is said of requests of a Celery application that do not end by themselves;
//! - [`stopping`]: the phases of a shutdown, in the time that [`time_left`] gives them;
//! - [`watched`]: what happens to requests becomes events, for those who watch;
//! - [`facts`]: what the worker says of itself, [`questions`]: what remote control asks it, and [`monitored`]: what
//!   probes and scrapes do.

mod acknowledging;
mod changed;
mod deadlines;
mod dispatch;
mod ending;
mod facts;
mod intake;
mod limited;
mod monitored;
mod python;
mod questions;
mod readiness;
mod stopping;
mod suspects;
mod time_left;
mod traced;
mod watched;

use std::collections::HashMap;
use std::sync::Arc;

use celeriac_app::resource::HealthBoard;
use celeriac_app::{App, Workplace};
use celeriac_protocol::{QueueName, TaskName, Timestamp};
use celeriac_store::{ConsumerId, Revocation, WorkerRecord};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::control::Question;
use crate::events::Watch;
use crate::fetcher::Arrival;
use crate::finish::Rules;
use crate::finisher::{Answer, Item};
use crate::lease::Renewed;
use crate::monitoring::{Counts, Signs, Snapshot};
use crate::outcome::Outcome;
use crate::pool::{Events, PoolEvent};
use crate::prefetch::Prefetch;
use crate::reports::Reports;
use crate::request::Request;
use crate::shutdown::{Asked, Phase, Turn};
use crate::table::{Key, Table};
use crate::timers::{TimerId, Timers};
use crate::{Error, Exit, Options, Shutdown};

use changed::Changed;
use dispatch::Lane;
use limited::Limited;
use readiness::Readiness;
use suspects::Suspects;

/// Everything that a worker reacts to.
#[derive(Debug)]
pub(crate) enum Input {
    /// Deliveries that the loop has asked for.
    Fetched(Vec<Arrival>),
    /// Pools have news.
    Pools(Vec<PoolEvent>),
    /// The store has answered for outcomes.
    Settled(Vec<Answer>),
    /// It is known whether the task of a request that has lost its child had already succeeded: this is how it ended.
    Judged(Arc<Request>, Outcome),
    /// Tasks were revoked.
    Revoked(Vec<Revocation>),
    /// Deadlines have passed.
    Due,
    /// The resources of this process fare otherwise than before.
    Health,
    /// Somebody wants to know how the worker is, or something about it has changed.
    Announce,
    /// The lease has been renewed.
    Renewed,
    /// Remote control wants something.
    Question(Question),
    /// Probes want to know whether the loop turns.
    Pulse,
    /// Somebody scrapes metrics.
    Scrape(oneshot::Sender<Box<Snapshot>>),
    /// A shutdown was asked for.
    Asked(Asked),
}

/// What a deadline is for.
#[derive(Clone, Debug)]
pub(crate) enum Deadline {
    /// The soft time limit of a request.
    Soft(Key),
    /// The hard time limit of a request.
    Hard(Key),
    /// The next token of a rate limit.
    Token(TaskName),
    /// The end of the time for which a redelivery that cannot run is kept here.
    Held(Key),
    /// The end of the patience with what is slow at the start.
    Start,
    /// The end of a phase of the shutdown.
    Phase,
}

/// The channels on which the loop hears and speaks.
pub(crate) struct Wires {
    /// Keeps the channel of the pools open, also for a worker that needs none.
    pub(crate) _events: Events,
    pub(crate) pools: mpsc::UnboundedReceiver<PoolEvent>,
    pub(crate) inputs: mpsc::UnboundedReceiver<Input>,
    /// For what the loop has others find out for it: for each request that runs one thing at most.
    pub(crate) own_inputs: mpsc::UnboundedSender<Input>,
    pub(crate) renewed: mpsc::Receiver<Renewed>,
    pub(crate) shutdown: Shutdown,
    /// How many deliveries to fetch; `None` once no more are wanted.
    pub(crate) limits: Option<mpsc::Sender<usize>>,
    /// From which queues to fetch, where that changes.
    pub(crate) queues: mpsc::UnboundedSender<Vec<QueueName>>,
    pub(crate) items: mpsc::UnboundedSender<Item>,
    /// One place: a record that waits is replaced by asking again.
    pub(crate) records: mpsc::Sender<WorkerRecord>,
}

/// The input loop and all that it holds. Nobody else touches any of it, so there are no locks.
pub(crate) struct Consumer {
    app: App,
    options: Arc<Options>,
    rules: Arc<Rules>,
    place: Arc<Workplace>,
    health: HealthBoard,
    reports: Arc<Reports>,
    wires: Wires,
    lanes: Vec<Lane>,
    prefetch: Prefetch,
    table: Table,
    limited: HashMap<TaskName, Limited>,
    changed: HashMap<TaskName, Changed>,
    /// Where tasks are fetched from.
    queues: Vec<QueueName>,
    suspects: Suspects,
    timers: Timers<Deadline>,
    phase: Phase,
    phase_timer: Option<TimerId>,
    readiness: Readiness,
    time_left: TimeLeft,
    /// The signal that has begun the shutdown, if it was one.
    stop_signal: Option<&'static str>,
    /// Whether the fetcher is at work.
    fetching: bool,
    /// Requests that have just started, and are acknowledged with what else happens now.
    owing_acks: Vec<Key>,
    /// Deliveries that are not settled.
    unsettled: usize,
    id: ConsumerId,
    totals: facts::Totals,
    /// What metrics count; `None` where nobody asks for it.
    counts: Option<Counts>,
    /// What probes are answered from, if there are any.
    signs: Option<Signs>,
    /// Why a pool cannot work.
    unfit: Option<Error>,
    /// What is told of what happens, where events are sent.
    watch: Option<Watch>,
}

/// What a consumer is made of.
pub(crate) struct Parts {
    pub(crate) app: App,
    pub(crate) options: Arc<Options>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) place: Arc<Workplace>,
    pub(crate) health: HealthBoard,
    pub(crate) reports: Arc<Reports>,
    pub(crate) wires: Wires,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) prefetch: Prefetch,
    /// Where tasks are fetched from.
    pub(crate) queues: Vec<QueueName>,
    pub(crate) id: ConsumerId,
    pub(crate) watch: Option<Watch>,
    pub(crate) counts: Option<Counts>,
    pub(crate) signs: Option<Signs>,
}

pub(crate) use dispatch::Lane as PoolLane;
pub(crate) use stopping::LAST_MOMENTS;
pub(crate) use time_left::TimeLeft;

/// The most pool events handled before the loop looks at anything else.
const EVENTS_AT_ONCE: usize = 1024;

impl Consumer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { app, options, rules, place, health, reports, wires, .. } = parts;
        let Parts { lanes, prefetch, queues, id, watch, counts, signs, .. } = parts;
        Self {
            suspects: Suspects::new(options.delivery_limit),
            queues,
            app,
            options,
            rules,
            place,
            health,
            reports,
            wires,
            lanes,
            prefetch,
            table: Table::default(),
            limited: HashMap::new(),
            changed: HashMap::new(),
            timers: Timers::default(),
            phase: Phase::Working,
            phase_timer: None,
            readiness: Readiness::default(),
            time_left: TimeLeft::default(),
            stop_signal: None,
            fetching: false,
            owing_acks: Vec::new(),
            unsettled: 0,
            id,
            totals: facts::Totals::default(),
            counts,
            signs,
            unfit: None,
            watch,
        }
    }

    /// Works until a shutdown was asked for and nothing is left to do.
    ///
    /// # Errors
    /// What makes a pool useless as it is set up.
    pub(crate) async fn run(&mut self) -> Result<Exit, Error> {
        self.start_waiting();
        self.announce();
        loop {
            self.dispatch();
            self.fetch(0);
            if !self.phase.is_working() && self.is_empty() {
                self.turn(Turn::Empty);
            }
            if let Phase::Over(exit) = self.phase {
                return self.unfit.take().map_or(Ok(exit), Err);
            }
            let input = self.input().await;
            self.handle(input);
            self.pay_acks();
        }
    }

    /// How much time the shutdown has left that has ended the loop.
    pub(crate) fn time_left(&self) -> TimeLeft {
        self.time_left
    }

    /// Waits for what happens next. Shutdown first, then what frees slots, then what fills them.
    async fn input(&mut self) -> Input {
        let Wires { pools, inputs, renewed, shutdown, .. } = &mut self.wires;
        let next = self.timers.next();
        let deadline = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut events = Vec::new();
        tokio::select! {
            biased;
            asked = shutdown.asked() => Input::Asked(asked),
            _ = pools.recv_many(&mut events, EVENTS_AT_ONCE) => Input::Pools(events),
            () = deadline => Input::Due,
            Some(input) = inputs.recv() => input,
            Some(Renewed) = renewed.recv() => Input::Renewed,
            else => unreachable!("the loop holds the sending end of its own channels' counterparts"),
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Fetched(arrivals) => self.fetched(arrivals),
            Input::Pools(events) => events.into_iter().for_each(|event| self.pool_event(event)),
            Input::Settled(answers) => answers.into_iter().for_each(|answer| self.settled(answer)),
            Input::Judged(request, outcome) => self.judged(&request, outcome),
            Input::Revoked(revocations) => revocations.iter().for_each(|revocation| self.revoked(revocation)),
            Input::Due => self.due(),
            Input::Health => self.health_changed(),
            Input::Announce => self.announce(),
            Input::Renewed => self.heartbeat(),
            Input::Question(question) => self.question(question),
            Input::Pulse => self.pulse(),
            // Who asked may have lost patience.
            Input::Scrape(answer) => drop(answer.send(self.snapshot())),
            Input::Asked(asked) => self.asked(asked),
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        while let Some(deadline) = self.timers.due(now) {
            match deadline {
                Deadline::Soft(key) => self.soft_limit(&key),
                Deadline::Hard(key) => self.hard_limit(&key),
                Deadline::Token(name) => self.token_due(&name),
                Deadline::Held(key) => self.held_long_enough(&key),
                Deadline::Start => self.start_is_over(),
                Deadline::Phase => self.turn(Turn::TimeUp),
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    fn send_item(&self, item: Item) {
        // The finisher lives as long as the loop does.
        let _ = self.wires.items.send(item);
    }
}
