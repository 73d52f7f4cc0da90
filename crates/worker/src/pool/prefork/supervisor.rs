//! The loop that keeps the children: it starts them, gives them jobs, watches them and ends them.
//!
//! It alone decides; links carry, slots keep the rules. It never waits for any one child.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use celeriac_app::{App, signals};
use celeriac_protocol::TaskId;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::board::Board;
use super::doom::Doom;
use super::link::{From, Link, News, NewsSender, ORDERS, Order};
use super::member::{Given, Hand, Member};
use super::oom::OomKills;
use super::options::{Options, Stopping};
use super::patience::Patience;
use super::protocol::{self, Reason, ToChild};
use super::slot::{Action, Phase};
use super::spawner::{Birth, Spawned, Spawner};
use crate::outcome::{Outcome, Revoked};
use crate::pool::slot::identity;
use crate::pool::{Events, Job, PoolEvent, PoolKind, StopReason};
use crate::signum::Signum;

/// How many news of all children may wait. A link with more waits, and so does its child.
const NEWS: usize = 256;

/// How many of them are heard before everything is looked over.
const AT_ONCE: usize = 64;

/// What the loop of the worker tells the supervisor.
#[derive(Debug)]
pub(super) enum Command {
    Submit(Job),
    /// To the request of this identity.
    Ask(usize, StopReason),
    /// To the request of this identity.
    Kill(usize, StopReason),
    /// The request of this identity is not to run, unless it does.
    Withdraw(usize),
    /// There are to be so many children.
    Resize(usize),
    /// Every child is to be replaced.
    Restart,
    Close {
        force: bool,
    },
}

/// Keeps the children of one pool.
pub(super) struct Supervisor {
    pub(super) options: Options,
    /// Those whose slots the pool has given up keep their places, until it grows again.
    pub(super) members: Vec<Member>,
    pub(super) oom_kills: OomKills,
    pub(super) board: Board,
    /// Events that are sent once the capacity that goes with them is known.
    pub(super) outbox: Vec<PoolEvent>,
    pub(super) is_closing: bool,
    app: App,
    spawner: Spawner,
    /// Since when it has kept children.
    began: Instant,
    /// How many children have ever been started.
    started: u32,
    /// How many jobs have ever been given.
    pub(super) given: u64,
    /// Jobs for which there was a child when they were submitted, but not any more.
    pub(super) waiting: VecDeque<Job>,
    capacity: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    events: Events,
    news: NewsSender,
    spawned: mpsc::UnboundedSender<(From, io::Result<Spawned>)>,
}

/// The ends that the supervisor listens on.
pub(super) struct Inbox {
    commands: mpsc::UnboundedReceiver<Command>,
    news: mpsc::Receiver<(From, News)>,
    spawned: mpsc::UnboundedReceiver<(From, io::Result<Spawned>)>,
}

impl Supervisor {
    /// A supervisor of slots that are all empty, and where it listens.
    pub(super) fn new(
        app: App,
        options: Options,
        spawner: Spawner,
        commands: mpsc::UnboundedReceiver<Command>,
        events: Events,
    ) -> (Self, Inbox) {
        let now = Instant::now();
        let (news, news_inbox) = mpsc::channel(NEWS);
        let (spawned, spawned_inbox) = mpsc::unbounded_channel();
        let empty = || Member::new(options.rules(), now);
        let oom_kills = match &options.oom_counter {
            Some(counter) => OomKills::at(Some(counter.clone())),
            None => OomKills::of_this_group(),
        };
        let supervisor = Self {
            members: std::iter::repeat_with(empty).take(options.processes).collect(),
            board: Board::new(options.processes),
            oom_kills,
            outbox: Vec::new(),
            is_closing: false,
            app,
            spawner,
            began: now,
            started: 0,
            given: 0,
            waiting: VecDeque::new(),
            capacity: Arc::new(AtomicUsize::new(0)),
            at_once: Arc::new(AtomicUsize::new(0)),
            events,
            news,
            spawned,
            options,
        };
        (supervisor, Inbox { commands, news: news_inbox, spawned: spawned_inbox })
    }

    /// How many jobs could be running now, for the loop of the worker to read.
    pub(super) fn capacity(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.capacity)
    }

    /// How many of them would be running at once.
    pub(super) fn at_once(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.at_once)
    }

    pub(super) fn board(&self) -> Board {
        self.board.clone()
    }

    /// Keeps the children until the pool was closed and the last of them is dead and reaped.
    pub(super) async fn run(mut self, mut inbox: Inbox) {
        let (mut commands, mut news) = (Vec::new(), Vec::new());
        let mut is_commanded = true;
        self.turn(Instant::now());
        while !self.members.iter().all(|member| member.slot.is_closed()) {
            let deadline = self.members.iter().filter_map(|member| member.slot.next_deadline()).min();
            let deadline = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                count = inbox.commands.recv_many(&mut commands, AT_ONCE), if is_commanded => {
                    // Without anybody to command, the worker is gone.
                    is_commanded = count > 0;
                    commands.extend((!is_commanded).then_some(Command::Close { force: true }));
                    commands.drain(..).for_each(|command| self.obey(command));
                }
                _ = inbox.news.recv_many(&mut news, AT_ONCE) => {
                    let now = Instant::now();
                    news.drain(..).for_each(|(from, news)| self.hear(from, news, now));
                }
                Some((from, spawned)) = inbox.spawned.recv() => self.receive(from, spawned, Instant::now()),
                () = tokio::time::sleep_until(deadline) => {}
            }
            self.turn(Instant::now());
        }
        self.events.send(PoolEvent::Closed(self.options.kind()));
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Submit(job) if self.is_closing => self.give_back(job),
            Command::Submit(job) => self.waiting.push_back(job),
            Command::Ask(request, reason) => self.ask(request, reason),
            Command::Kill(request, reason) => self.kill(request, reason, now),
            Command::Withdraw(request) => drop(self.withdraw(request, StopReason::Revoked)),
            Command::Resize(processes) => self.resize(processes, now),
            Command::Restart => self.restart(now),
            Command::Close { force } => self.close(force, now),
        }
    }

    /// Does everything that has become due or possible, and then tells the loop of the worker.
    fn turn(&mut self, now: Instant) {
        for index in 0..self.members.len() {
            self.watch(index, now);
        }
        self.recycle(now);
        self.dispatch(now);
        self.level(now);
        (0..self.members.len()).for_each(|index| self.update_row(index));
        let open = self.members.iter().map(|member| member.slot.capacity()).sum();
        let before = self.capacity.swap(open, Ordering::AcqRel);
        let at_once = self.members.iter().map(|member| member.slot.at_once()).sum();
        self.at_once.store(at_once, Ordering::Release);
        for event in self.outbox.drain(..) {
            self.events.send(event);
        }
        if open > before {
            self.events.send(PoolEvent::Capacity);
        }
    }

    /// Does what has become due for one slot.
    fn watch(&mut self, index: usize, now: Instant) {
        let Some(member) = self.members.get_mut(index) else { return };
        if let Some(silence) = member.slot.too_silent(now) {
            let phase = member.slot.phase().map_or("starting", Phase::as_str);
            let hung_in = member.hand.as_ref().and_then(|hand| hand.process.hung_in());
            self.condemn(index, Doom::Silent { phase, silence, hung_in }, now);
        }
        if let Some(still) = self.members.get(index).and_then(|member| member.slot.is_blocked(now)) {
            self.condemn(index, Doom::Blocked(still), now);
        }
        let Some(member) = self.members.get_mut(index) else { return };
        if let Some(action) = member.slot.tick(now) {
            self.carry_out(index, action);
        } else if member.slot.take_spawn(now) {
            self.spawn(index);
        }
    }

    /// Replaces one child that has served long enough, if all others are there to take over its work.
    fn recycle(&mut self, now: Instant) {
        let is_whole = self.members.iter().all(|member| member.is_surplus || member.slot.is_open());
        if self.is_closing || !is_whole {
            return;
        }
        let limits = self.options.limits;
        let due = |member: &Member| match member.is_surplus {
            true => None,
            false => limits.due(member.slot.tasks(), member.slot.memory()),
        };
        let first = self.members.iter().enumerate().find_map(|(index, member)| Some((index, due(member)?)));
        if let Some((index, doom)) = first {
            self.condemn(index, doom, now);
        }
    }

    /// Asks one task to stop, if a child runs it.
    fn ask(&mut self, request: usize, reason: StopReason) {
        let Some((index, id)) = self.place_of(request) else { return };
        if self.options.stopping == Stopping::Nobody {
            // What it was asked for has been logged.
            return;
        }
        self.announce(index, &ToChild::Cancel { id, reason: reason.into() });
    }

    /// Says something to a child that runs a task. A Python child of one task reads its socket then only when it is told to.
    fn announce(&mut self, index: usize, what: &ToChild) {
        let hears_signals =
            self.options.kind() == PoolKind::Python && self.options.stopping == Stopping::Child;
        self.say_so(index, what, Bytes::new(), hears_signals);
    }

    /// Ends a request that waits, here or in what a child was given ahead. Whether it did.
    fn withdraw(&mut self, request: usize, reason: StopReason) -> bool {
        if let Some((index, id)) = self.place_of(request)
            && self.members.get(index).is_some_and(|member| !member.slot.has_started(&id))
        {
            self.take_all_back(index);
        }
        let at = self.waiting.iter().position(|job| identity(&job.request) == request);
        let Some(job) = at.and_then(|at| self.waiting.remove(at)) else { return false };
        let outcome = match reason {
            StopReason::Revoked | StopReason::Terminated(_) => Outcome::Revoked(Revoked::BeforeStart),
            _ => Outcome::Returned,
        };
        self.finish(job, outcome, Duration::ZERO);
        true
    }

    /// Stops one task by force: its child, if that runs nothing else; else its child is asked to stop it. Only where the
    /// worker ends all are killed.
    fn kill(&mut self, request: usize, reason: StopReason, now: Instant) {
        if self.withdraw(request, reason) {
            return;
        }
        let Some((index, id)) = self.place_of(request) else { return };
        let doom = match reason {
            StopReason::HardTimeLimit(_) | StopReason::SoftTimeLimit(_) => Doom::HardLimit,
            StopReason::Revoked => Doom::Revoked(Signum::TERM),
            StopReason::Terminated(signal) => Doom::Revoked(signal),
            // Which all of its tasks are told now.
            StopReason::Shutdown if self.options.stopping != Stopping::Child => Doom::Shutdown,
            StopReason::Shutdown => Doom::GivenUp,
        };
        match self.options.stopping {
            Stopping::Task if doom.is_of_its_task() => {
                self.announce(index, &ToChild::Cancel { id: id.clone(), reason: reason.into() });
                let urged = self.members.get_mut(index).and_then(|it| it.slot.urge(&id, doom, now));
                urged.into_iter().for_each(|action| self.carry_out(index, action));
            }
            Stopping::Nobody if doom.is_of_its_task() => {
                tracing::warn!(task_id = %id, ?reason, "a task on a thread cannot be stopped: it runs on, and ends as it ends");
            }
            _ => self.condemn_for(index, doom, Some(&id), now),
        }
    }

    fn close(&mut self, force: bool, now: Instant) {
        self.is_closing = true;
        (0..self.members.len()).for_each(|index| self.take_all_back(index));
        while let Some(job) = self.waiting.pop_front() {
            self.give_back(job);
        }
        for index in 0..self.members.len() {
            self.condemn(index, if force { Doom::Shutdown } else { Doom::End }, now);
            if let Some(member) = self.members.get_mut(index) {
                member.slot.close();
            }
        }
    }

    /// The job was not started: it is to be delivered again as if it never had been.
    fn give_back(&mut self, job: Job) {
        self.finish(job, Outcome::Returned, Duration::ZERO);
    }

    pub(super) fn finish(&mut self, job: Job, outcome: Outcome, runtime: Duration) {
        // If the loop of the worker was faster it keeps to its own decision.
        job.request.decide();
        self.outbox.push(PoolEvent::Finished { request: job.request, outcome, runtime });
    }

    pub(super) fn condemn(&mut self, index: usize, doom: Doom, now: Instant) {
        self.condemn_for(index, doom, None, now);
    }

    /// Condemns a child, because of this task if the doom is of one. What it was given ahead goes to others.
    fn condemn_for(&mut self, index: usize, doom: Doom, task: Option<&TaskId>, now: Instant) {
        self.take_all_back(index);
        let action = self.members.get_mut(index).and_then(|member| member.slot.condemn(doom, task, now));
        if let Some(action) = action {
            self.carry_out(index, action);
        }
    }

    pub(super) fn carry_out(&mut self, index: usize, action: Action) {
        match action {
            Action::Confirm(id) => self.announce(index, &ToChild::Confirm { id }),
            Action::Stop => self.say(index, &ToChild::Stop, Bytes::new()),
            Action::Terminate => self.signal(index, Signal::TERM),
            Action::Kill => self.signal(index, Signal::KILL),
            Action::Signal(id, Signum::USR1) if self.options.kind() == PoolKind::Python => {
                // To a stock child this signal is its soft time limit; to ours, that something has been said.
                let reason = Reason::SoftTimeLimit { limit: Duration::ZERO };
                self.announce(index, &ToChild::Cancel { id, reason });
            }
            Action::Signal(_, signal) => {
                if let Some(signal) = Signal::from_named_raw(signal.number()) {
                    self.signal(index, signal);
                }
            }
        }
    }

    fn signal(&self, index: usize, signal: Signal) {
        if let Some(hand) = self.members.get(index).and_then(|member| member.hand.as_ref()) {
            hand.process.signal(signal);
        }
    }

    /// Says something small to a child.
    pub(super) fn say(&mut self, index: usize, what: &ToChild, body: Bytes) {
        self.say_so(index, what, body, false);
    }

    fn say_so(&mut self, index: usize, what: &ToChild, body: Bytes, is_announced: bool) {
        match protocol::encode(what, body, self.options.frame_limit) {
            Ok(frame) => {
                let is_last = matches!(what, ToChild::Stop);
                self.order(index, Order { frame, starts: None, is_announced, is_last });
            }
            Err(error) => tracing::error!(%error, "a frame for a child process was not sent"),
        }
    }

    pub(super) fn order(&mut self, index: usize, order: Order) {
        let Some(hand) = self.members.get(index).and_then(|member| member.hand.as_ref()) else { return };
        // If its link has ended, the child is dead and that news is on its way.
        if let Err(mpsc::error::TrySendError::Full(_)) = hand.orders.try_send(order) {
            let why = "it has not read its last orders".to_owned();
            self.condemn(index, Doom::Garbled(why.into()), Instant::now());
        }
    }

    fn spawn(&mut self, index: usize) {
        let node = &self.options.node;
        self.app
            .signals()
            .send(signals::worker_before_create_process, || signals::WorkerNode { name: node.clone() });
        self.started += 1;
        let Some(member) = self.members.get_mut(index) else { return };
        member.number = self.started;
        member.name = self.options.source.name_of(self.started).into();
        let from = From { slot: index, number: member.number };
        let birth = Birth { number: self.started, index, name: member.name.clone(), jobs: self.options.jobs };
        let (answer, spawned) = (self.spawner.spawn(birth), self.spawned.clone());
        tokio::spawn(async move {
            let result =
                answer.await.unwrap_or_else(|_| Err(io::Error::other("the spawner thread has ended")));
            // Without a supervisor nobody wants the child: it is dropped, and ends with its socket.
            let _ = spawned.send((from, result));
        });
    }

    /// Takes charge of a child that has been started, or tries again later.
    fn receive(&mut self, from: From, spawned: io::Result<Spawned>, now: Instant) {
        let Some(member) = self.members.get_mut(from.slot) else { return };
        let (limit, news) = (self.options.frame_limit, self.news.clone());
        if let Ok(Spawned { name: Some(name), .. }) = &spawned {
            member.name = name.clone();
        }
        let mut spawned = spawned;
        member.ahead = spawned.as_mut().ok().and_then(|spawned| spawned.ahead.take());
        let linked = spawned.and_then(|spawned| {
            let patience = Patience::new(member.ahead.is_some(), self.began);
            Link::new(from, member.name.clone(), spawned, patience, limit, news)
        });
        match linked {
            Ok((link, process)) => {
                // Each job may be one order, and to stop it another.
                let (orders, inbox) = mpsc::channel(ORDERS + 2 * self.options.jobs);
                let pid = process.id();
                member.hand = Some(Hand { orders, process });
                member.slot.spawned(now);
                tracing::debug!(child = &*member.name, pid, "child process started");
                tokio::spawn(link.run(inbox));
                let is_surplus = member.is_surplus;
                self.changed(from.slot);
                if self.is_closing || is_surplus {
                    let doom = if self.is_closing { Doom::End } else { Doom::Surplus };
                    self.condemn(from.slot, doom, now);
                }
            }
            Err(error) => {
                let delay = member.slot.spawn_failed(now);
                tracing::error!(%error, ?delay, "a child process could not be started; trying again later");
                if self.is_closing || member.is_surplus {
                    member.slot.close();
                }
                self.board.edit(from.slot, |row| row.last_death = Some(error.to_string().into()));
            }
        }
    }

    /// The slot is empty again. Gives the process id of the child that was in it.
    pub(super) fn let_go(&mut self, index: usize) -> Option<u32> {
        let member = self.members.get_mut(index)?;
        if self.is_closing || member.is_surplus {
            member.slot.close();
        }
        member.hand.take().map(|hand| hand.process.id())
    }

    /// Something is new of a slot.
    pub(super) fn changed(&mut self, index: usize) {
        if let Some(member) = self.members.get_mut(index) {
            member.changed = true;
        }
    }

    /// Shows people how a slot fares, if that is new.
    fn update_row(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index).filter(|member| member.changed) else { return };
        member.changed = false;
        self.board.edit(index, |row| member.show(row));
    }

    /// Which child runs this request, and under which id. Two requests may have the same task id; their identities differ.
    fn place_of(&self, request: usize) -> Option<(usize, TaskId)> {
        let runs = |given: &&Given| identity(&given.job.request) == request;
        let mut members = self.members.iter().enumerate();
        members
            .find_map(|(index, member)| Some((index, member.jobs.iter().find(runs)?.job.request.id.clone())))
    }
}
