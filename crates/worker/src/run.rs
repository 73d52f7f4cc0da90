//! The life of a worker: start-up in order, the loop, and the end in the reverse order.

use std::collections::HashMap;
use std::sync::Arc;

use celeriac_app::resource::ResourcePlan;
use celeriac_app::signals::{self, ShuttingDown, WorkerNode};
use celeriac_app::{App, Reporter, Workplace};
use celeriac_protocol::{QueueName, State, TaskId, Value, events};
use celeriac_store::{ConsumerId, Settler, Store, Subscription, WorkerRecord};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::admission::pool_of;
use crate::background::{keep_present, watch_health, watch_revocations};
use crate::connecting::{self, Reached};
use crate::consumer::{Consumer, Input, LAST_MOMENTS, Parts, PoolLane, TimeLeft, Wires};
use crate::control::{Inquirer, Intake, Kept, LogicalClock, Mailbox, MemorySamples, OwnCommands, Panel};
use crate::events::{Dispatcher, Watch};
use crate::executor::Executor;
use crate::fetcher::Fetcher;
use crate::finish::Rules;
use crate::finisher::{Finisher, Item};
use crate::host::Host;
use crate::lease::{LeaseKeeper, Renewed};
use crate::monitoring::{self, Counts, EarlyProbes, Monitor, StoreWatch, Wire};
use crate::opening::Opening;
use crate::pool::prefork::{self, Prefork};
use crate::pool::{AsyncPool, Events, Pool, PoolKind, ThreadPool, ThreadSetup};
use crate::prefetch::Prefetch;
use crate::reports::Reports;
use crate::shutdown::Asked;
use crate::trouble::Trouble;
use crate::workflow::Workflow;
use crate::{Error, Exit, Options, Shutdown, check};

/// Runs a worker until it is asked to stop. A store that is away is waited for.
///
/// It works on the runtime that calls it, for which one thread is enough: tasks have runtimes, threads and processes
/// of their own (see [`Placement`](crate::Placement)).
///
/// # Errors
/// What makes a start impossible: a task that asks for what it cannot get, a store that cannot be used, a thread that
/// the system refuses. Once it runs, a worker ends by its [`Shutdown`] only.
pub async fn run(app: &App, options: Options, shutdown: Shutdown) -> Result<Exit, Error> {
    connect(app, options, shutdown, None).await?.run().await
}

/// The first part of [`run`]: checks the tasks, answers probes from then on, and connects to the store. What answers probes
/// already goes on.
///
/// It ends without a store where a shutdown is asked for while that is away. What it returns is to be run then, too.
///
/// # Errors
/// As [`run`].
pub async fn connect(
    app: &App,
    options: Options,
    shutdown: Shutdown,
    probes: Option<EarlyProbes>,
) -> Result<Connected<'_>, Error> {
    let options = Arc::new(options);
    let plan = check::tasks(app, &options)?;
    crate::panic::install_hook();
    // Before anything slow, so that probes are answered from the start.
    let (monitor, wire) = monitoring::go_on(probes, &options)?;
    monitor.iter().for_each(Monitor::say_where);
    let mut channels = Channels::new(shutdown, wire);
    let node = WorkerNode { name: options.node_name.as_str().into() };
    app.signals().send(signals::worker_init, || node.clone());
    let reached = connecting::connect(app, &options, &mut channels.wires.shutdown).await?;
    Ok(Connected { app, options, plan, channels, monitor, node, reached })
}

/// A worker that has its store and takes nothing from it yet.
#[must_use = "it does nothing until it is run"]
pub struct Connected<'a> {
    app: &'a App,
    options: Arc<Options>,
    plan: ResourcePlan,
    channels: Channels,
    monitor: Option<Monitor>,
    node: WorkerNode,
    reached: Reached,
}

impl Connected<'_> {
    /// Its store; none where a shutdown was asked for before.
    pub fn store(&self) -> Option<&Store> {
        match &self.reached {
            Reached::Store(store) => Some(store),
            Reached::Stopped(_) => None,
        }
    }

    /// The other part of [`run`].
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run(self) -> Result<Exit, Error> {
        let Self { app, options, plan, channels, monitor, node, reached } = self;
        let exit = match reached {
            Reached::Store(store) => {
                let host = Host::start(app, &options, plan)?;
                let worker = Worker { app, options: &options, host: &host, store: &store };
                let exit = worker.run(channels, monitor).await;
                host.end();
                exit
            }
            Reached::Stopped(asked) => Ok(give_up(app, &node, asked, monitor.as_ref())),
        };
        if exit.as_ref().is_ok_and(|exit| *exit != Exit::Cold) {
            app.signals().send(signals::worker_shutdown, || node);
        }
        exit
    }
}

/// Ends a worker that has never worked, as it was asked to.
fn give_up(app: &App, node: &WorkerNode, asked: Asked, monitor: Option<&Monitor>) -> Exit {
    if let Some(monitor) = monitor {
        monitor.signs().vitals().ended();
    }
    let exit = asked.exit();
    let signal = asked.signal();
    tracing::info!(signal, "shutdown: the store was still away");
    let (name, warm) = (node.name.clone(), exit != Exit::Cold);
    app.signals().send(signals::worker_shutting_down, || ShuttingDown {
        name,
        signal: signal.map(Into::into),
        warm,
    });
    exit
}

fn no_template() -> Error {
    let reason = "a task of a Celery application needs the application's template process".to_owned();
    Error::Misconfigured { option: "app", reason }
}

/// What starting and ending a worker needs to know.
struct Worker<'a> {
    app: &'a App,
    options: &'a Arc<Options>,
    host: &'a Host,
    store: &'a Store,
}

/// The channels of one worker, by the ends that its parts hold.
struct Channels {
    wires: Wires,
    events: Events,
    inputs: mpsc::UnboundedSender<Input>,
    limits: mpsc::Receiver<usize>,
    queues: mpsc::UnboundedReceiver<Vec<QueueName>>,
    items: mpsc::UnboundedReceiver<Item>,
    records: mpsc::Receiver<WorkerRecord>,
    renewed: mpsc::Sender<Renewed>,
}

impl Channels {
    fn new(shutdown: Shutdown, (inputs, heard): Wire) -> Self {
        let (events, pools) = Events::channel();
        let (ask, limits) = mpsc::channel(1);
        let (change, queues) = mpsc::unbounded_channel();
        let (finish, items) = mpsc::unbounded_channel();
        let (say, records) = mpsc::channel(1);
        let (renewed, renewals) = mpsc::channel(1);
        let wires = Wires {
            _events: events.clone(),
            pools,
            inputs: heard,
            own_inputs: inputs.clone(),
            renewed: renewals,
            shutdown,
            limits: Some(ask),
            queues: change,
            items: finish,
            records: say,
        };
        Self { wires, events, inputs, limits, queues, items, records, renewed }
    }
}

impl Worker<'_> {
    async fn run(&self, channels: Channels, mut monitor: Option<Monitor>) -> Result<Exit, Error> {
        let mut shutdown = channels.wires.shutdown.clone();
        let assembled = tokio::select! {
            biased;
            assembled = self.assemble(channels, monitor.as_mut()) => Ok(assembled?),
            asked = connecting::given_up(&mut shutdown) => Err(asked),
        };
        let (mut consumer, crew) = match assembled {
            Ok(assembled) => assembled,
            // Children end with the pools that have been dropped.
            Err(asked) => {
                let node = WorkerNode { name: self.options.node_name.as_str().into() };
                let exit = give_up(self.app, &node, asked, monitor.as_ref());
                self.say_process_ends();
                return Ok(exit);
            }
        };
        let exit = consumer.run().await;
        if let Some(monitor) = &monitor {
            monitor.signs().vitals().ended();
        }
        self.say_process_ends();
        consumer.close_pools(exit.as_ref().ok().copied()).await;
        let left = consumer.time_left();
        drop(consumer);
        crew.dismiss(left).await;
        exit
    }

    fn say_process_ends(&self) {
        if self.host.is_used {
            let process = || self.host.process.clone();
            self.app.signals().send(signals::worker_process_shutdown, process);
        }
    }

    /// Makes the loop and everything around it.
    async fn assemble(
        &self,
        channels: Channels,
        monitor: Option<&mut Monitor>,
    ) -> Result<(Consumer, Crew), Error> {
        let Self { app, options, host, store } = *self;
        let Channels { wires, events, inputs, limits, queues, items, records, renewed } = channels;
        let reports = Arc::new(Reports::default());
        let rules = Arc::new(Rules {
            result_expires: options.result_expires,
            delivery_limit: options.delivery_limit,
        });
        let place = Arc::new(Workplace {
            app: app.clone(),
            process: host.process.clone(),
            shared: Arc::clone(&host.shared),
            reporter: Arc::new(StoreReporter { reports: Arc::clone(&reports), rules: Arc::clone(&rules) }),
        });
        let lanes = self.start_pools(&place, &events)?;
        let slots = lanes.iter().map(|lane| lane.pool.size()).sum();
        let prefetch = Prefetch::new(slots, options.prefetch_multiplier);
        let trouble = Trouble::new(store.url());
        let kept = Kept::new(store, options);
        let opening = Opening { app, options, store, trouble: &trouble };
        let intake = opening.intake(&kept, &inputs).await?;
        let Subscription { consumer, settler, lease } = opening.subscribe(&intake, &prefetch).await?;
        let id = ConsumerId(format!("{}/{}", options.node_name, TaskId::fresh()));

        let signs = monitor.as_ref().map(|monitor| monitor.signs());
        let fetcher = Fetcher {
            consumer,
            store: store.clone(),
            limits,
            queues,
            arrivals: inputs.clone(),
            trouble: trouble.clone(),
            signs: signs.clone(),
        };
        let finisher = Finisher {
            store: store.clone(),
            settler: Arc::clone(&settler),
            reports: Arc::clone(&reports),
            workflow: Workflow {
                app: app.clone(),
                expires_after: options.result_expires,
                max_body_bytes: options.max_body_bytes,
            },
            clock: options.clock.clone(),
            items,
            answers: inputs.clone(),
            trouble: trouble.clone(),
        };
        host.build();
        let mut others = vec![
            tokio::spawn(fetcher.run()),
            tokio::spawn(watch_health(host.health.clone(), inputs.clone())),
            tokio::spawn(watch_revocations(store.clone(), inputs.clone(), trouble.clone())),
        ];
        others.extend(monitor.and_then(|monitor| {
            let watch = StoreWatch {
                store: store.clone(),
                signs: monitor.signs(),
                clock: options.clock.clone(),
                asked: monitor.take_queues()?,
            };
            Some(tokio::spawn(watch.run()))
        }));
        #[cfg(target_os = "linux")]
        if crate::orphans::come_here() {
            others.push(tokio::spawn(crate::orphans::reap()));
        }
        let clock = LogicalClock::default();
        let (watch, dispatcher) = self.events(&inputs, &clock, &trouble).unzip();
        let bell = dispatcher.as_ref().map(|dispatcher| Arc::clone(&dispatcher.bell));
        let queues = intake.open();
        let mailbox = self.remote_control(&inputs, clock, bell, (intake, kept), &trouble);
        others.extend(mailbox.map(|mailbox| tokio::spawn(mailbox.run())));
        let crew = Crew {
            _keeper: LeaseKeeper::start(lease, options.placement, renewed, trouble.clone())?,
            settler,
            finishing: tokio::spawn(finisher.run()),
            telling: dispatcher.map(|dispatcher| tokio::spawn(dispatcher.run())),
            present: tokio::spawn(keep_present(store.clone(), id.clone(), inputs, records, trouble)),
            others,
        };
        let (app, options, health) = (app.clone(), Arc::clone(options), host.health.clone());
        let counts = options.metrics_address.map(|_| Counts::new(options.objectives.clone()));
        let parts = Parts {
            app,
            options,
            rules,
            place,
            health,
            reports,
            wires,
            lanes,
            prefetch,
            queues,
            id,
            watch,
            counts,
            signs,
        };
        Ok((Consumer::new(parts), crew))
    }

    /// What hears remote control, if that is wanted.
    fn remote_control(
        &self,
        inputs: &mpsc::UnboundedSender<Input>,
        clock: LogicalClock,
        bell: Option<Arc<Notify>>,
        (intake, kept): (Intake, Kept),
        trouble: &Trouble,
    ) -> Option<Mailbox> {
        let exchange = self.options.control_exchange.clone()?;
        let broadcasts = Arc::clone(self.store.broadcasts());
        let panel = Panel {
            app: self.app.clone(),
            options: Arc::clone(self.options),
            store: self.store.clone(),
            inquirer: Inquirer::new(inputs.clone()),
            clock,
            since: Instant::now(),
            intake,
            kept,
            changed: HashMap::new(),
            memory: MemorySamples::default(),
            bell,
            own: OwnCommands::default(),
        };
        Some(Mailbox { broadcasts, exchange, panel, trouble: trouble.clone(), later: JoinSet::new() })
    }

    /// What sends events, and how the loop tells it of them, if they are wanted.
    fn events(
        &self,
        inputs: &mpsc::UnboundedSender<Input>,
        logical: &LogicalClock,
        trouble: &Trouble,
    ) -> Option<(Watch, Dispatcher)> {
        let options = self.options;
        let exchange = options.event_exchange.clone()?;
        let broadcasts = Arc::clone(self.store.broadcasts());
        let sender = events::Sender::new(options.node_name.as_str(), std::process::id(), options.utc_offset);
        let (watch, inbox) = Watch::new(sender.clone(), logical.clone(), options.event_rate_limit);
        let dispatcher = Dispatcher {
            broadcasts,
            exchange,
            sender,
            heartbeat: options.heartbeat_interval,
            logical: logical.clone(),
            clock: options.clock.clone(),
            inquirer: Inquirer::new(inputs.clone()),
            inbox,
            bell: Arc::default(),
            trouble: trouble.clone(),
        };
        Some((watch, dispatcher))
    }

    /// The pools that the registered tasks need, and no others.
    fn start_pools(&self, place: &Arc<Workplace>, events: &Events) -> Result<Vec<PoolLane>, Error> {
        let Self { app, options, host, .. } = *self;
        let executor = Executor::new(Arc::clone(place), options);
        let mut pools: Vec<Box<dyn Pool>> = Vec::new();
        for kind in PoolKind::ALL {
            if !app.task_list().any(|task| pool_of(task) == kind) {
                continue;
            }
            pools.push(match kind {
                PoolKind::Async => {
                    let (size, runtime) = (options.async_concurrency, host.handle.clone());
                    Box::new(AsyncPool::new(size, runtime, executor.clone(), events.clone()))
                }
                PoolKind::Threads => {
                    let setup = ThreadSetup {
                        executor: executor.clone(),
                        plan: host.plan.clone(),
                        health: host.health.clone(),
                        runtime: host.handle.clone(),
                        events: events.clone(),
                    };
                    Box::new(ThreadPool::start(options.threads, &setup)?)
                }
                PoolKind::Prefork => {
                    Box::new(Prefork::start(app, prefork::Options::of_worker(app, options), events.clone())?)
                }
                PoolKind::Python => {
                    let template = options.template.clone().ok_or_else(no_template)?;
                    let of_host = prefork::Options::of_host(app, options, template);
                    Box::new(Prefork::start(app, of_host, events.clone())?)
                }
                PoolKind::Loops => {
                    let template = options.template.clone().ok_or_else(no_template)?;
                    let of_loops = prefork::Options::of_loops(app, options, template);
                    Box::new(Prefork::start(app, of_loops, events.clone())?)
                }
            });
        }
        Ok(pools.into_iter().map(PoolLane::new).collect())
    }
}

/// What works around the loop until it has ended. Dropped, it ends at once and as it is, like in a crash.
struct Crew {
    _keeper: LeaseKeeper,
    settler: Arc<dyn Settler>,
    finishing: JoinHandle<()>,
    /// Sends events.
    telling: Option<JoinHandle<()>>,
    present: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Ends everything in order, once the loop is gone: outcomes become durable, what is left goes back, the worker is
    /// no longer listed.
    async fn dismiss(mut self, left: TimeLeft) {
        let end = || left.step(Instant::now(), LAST_MOMENTS);
        let _ = timeout_at(end(), &mut self.finishing).await;
        if let Some(telling) = &mut self.telling {
            let _ = timeout_at(end(), telling).await;
        }
        match timeout_at(end(), self.settler.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what is left comes back when its lease runs out"),
            Err(_elapsed) => {
                tracing::error!("the store does not answer: what is left comes back when its lease runs out");
            }
        }
        let _ = timeout_at(end(), &mut self.present).await;
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let all = self.others.iter().chain([&self.finishing, &self.present]).chain(&self.telling);
        all.for_each(JoinHandle::abort);
    }
}

/// Stores what running tasks say of themselves.
struct StoreReporter {
    reports: Arc<Reports>,
    rules: Arc<Rules>,
}

impl Reporter for StoreReporter {
    fn report(&self, task: &TaskId, state: State, meta: Value) {
        self.reports.add(self.rules.report(task.clone(), state, meta));
    }
}
