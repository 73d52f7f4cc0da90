//! The life of one child after another in one slot of the pool. Pure: the supervisor does what it asks for.
//!
//! ```text
//!          spawned         says ready        assign
//!  Down ───────────▶ Starting ─────▶ Ready, idle ◀────▶ busy with one task or several
//!   ▲                   │               │     done        │
//!   │      died         ▼               ▼                 ▼     a sentence: no more jobs, then stop, TERM or KILL
//!   └───────────────────┴───────────────┴─────────────────┘
//! ```

use std::time::Duration;

use celeriac_protocol::TaskId;
use tokio::time::Instant;

use super::backoff;
use super::doom::{self, Doom, Evidence};
use crate::death::{DeathReason, Ending};
use crate::signum::Signum;

mod child;
mod sentence;

use child::{Child, Run, Urged};
use sentence::{Blow, Sentence};

pub(super) use child::Phase;

/// How soon a child that seems to have been silent for too long is looked at again. What it said while this worker was
/// busy with something else, such as a huge result, has been heard by then.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// The times a slot goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// A child that has not come beyond [`Phase::Starting`] by then is killed.
    pub(super) start: Duration,
    /// A child that gives no sign of life for so long after that is killed.
    pub(super) silence: Duration,
    /// How long a child may take to say whether it still runs a task, before it is killed unasked.
    pub(super) answer: Duration,
    /// How long a child of several tasks may keep still that was told to stop one of them, before it is killed.
    pub(super) react: Duration,
    /// How long a child may live after SIGTERM.
    pub(super) grace: Duration,
    /// The same where its task went beyond the hard time limit.
    pub(super) hard_grace: Duration,
    /// How long a child without a task may take to end once it was told to.
    pub(super) leave: Duration,
}

/// What the supervisor is to do to the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask whether it still runs this task.
    Confirm(TaskId),
    /// Tell it to end once it has nothing to do.
    Stop,
    /// Send SIGTERM.
    Terminate,
    /// Send SIGKILL.
    Kill,
    /// Send this signal, which is about this task.
    Signal(TaskId, Signum),
}

/// One slot of the pool and the child that is in it.
#[derive(Debug)]
pub(super) struct Slot {
    rules: Rules,
    life: Life,
    /// How many children in a row failed to start.
    failures: u32,
}

#[derive(Debug)]
enum Life {
    /// No child; the next is due then.
    Down { due: Instant },
    /// The spawner thread has been asked for a child.
    Spawning,
    /// There is a child.
    Alive(Box<Child>),
    /// No child, and none will come.
    Closed,
}

/// How a child ended, as far as its slot can tell.
#[derive(Debug, PartialEq)]
pub(super) struct Death {
    pub(super) reason: DeathReason,
    /// The tasks it was running, for how long, and what ended those that had to be ended, if that is not the reason.
    pub(super) runs: Vec<Lost>,
    pub(super) lived: Duration,
}

/// A task that died with its child.
#[derive(Debug, PartialEq)]
pub(super) struct Lost {
    pub(super) id: TaskId,
    pub(super) runtime: Duration,
    /// Why its child died, as far as this task is concerned.
    pub(super) reason: DeathReason,
}

impl Slot {
    /// An empty slot whose first child is due now.
    pub(super) fn new(rules: Rules, now: Instant) -> Self {
        Self { rules, life: Life::Down { due: now }, failures: 0 }
    }

    /// Whether a child is to be started now. Counts as asked for once it says so.
    pub(super) fn take_spawn(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.life, Life::Down { due } if due <= now);
        if is_due {
            self.life = Life::Spawning;
        }
        is_due
    }

    /// The child was started.
    pub(super) fn spawned(&mut self, now: Instant) {
        self.life = Life::Alive(Box::new(Child::new(now)));
    }

    /// The child could not be started: tried again later.
    pub(super) fn spawn_failed(&mut self, now: Instant) -> Duration {
        let delay = self.back_off();
        self.life = Life::Down { due: now + delay };
        delay
    }

    /// The child gave a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(child) = self.child_mut() {
            child.heard = now;
            if child.phase != Phase::Starting {
                child.suspected = None;
            }
        }
    }

    /// The child takes so many tasks at once from now on, and so many more ahead.
    pub(super) fn ready(&mut self, jobs: usize, ahead: usize) {
        if let Some(child) = self.child_mut() {
            child.jobs = jobs.max(1);
            child.ahead = ahead;
        }
        self.reached(Phase::Ready);
    }

    /// The child said what it is doing at its start.
    pub(super) fn reached(&mut self, phase: Phase) {
        if let Some(child) = self.child_mut() {
            child.phase = phase;
            child.suspected = None;
        }
    }

    /// The child said how much memory it holds.
    pub(super) fn measured(&mut self, memory: u64) {
        if let Some(child) = self.child_mut() {
            if child.phase != Phase::Ready {
                child.start_memory = memory;
            }
            child.memory = memory;
        }
    }

    /// The child said why it cannot go on.
    pub(super) fn said(&mut self, why: Box<str>) {
        if let Some(child) = self.child_mut() {
            child.said = Some(why);
        }
    }

    /// Whether the child is one that tasks are given to, busy or not.
    pub(super) fn is_open(&self) -> bool {
        self.child().is_some_and(|child| child.phase == Phase::Ready && child.sentence.is_none())
    }

    /// How many tasks the child could have been given now.
    pub(super) fn capacity(&self) -> usize {
        if self.is_open() { self.child().map_or(0, |child| child.jobs + child.ahead) } else { 0 }
    }

    /// How many of them would run at once.
    pub(super) fn at_once(&self) -> usize {
        if self.is_open() { self.child().map_or(0, |child| child.jobs) } else { 0 }
    }

    /// Whether the child has nothing to do and could be given something.
    pub(super) fn is_idle(&self) -> bool {
        self.is_open() && self.given() == 0
    }

    /// Whether the child can be given this task now: not beside another run of the same, which it could not tell apart.
    pub(super) fn takes(&self, id: &TaskId) -> bool {
        self.is_open() && self.child().is_some_and(|child| child.takes(id))
    }

    /// How many tasks the child was given and has not ended.
    pub(super) fn given(&self) -> usize {
        self.child().map_or(0, |child| child.runs.len())
    }

    /// How many of them it has not said to have started.
    pub(super) fn not_started(&self) -> usize {
        self.child().map_or(0, |child| child.runs.iter().filter(|run| !run.started).count())
    }

    /// Whether the child has said that it started this task.
    pub(super) fn has_started(&self, id: &TaskId) -> bool {
        self.child().and_then(|child| child.run(id)).is_some_and(|run| run.started)
    }

    /// Whether no child is here or will come.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.life, Life::Closed)
    }

    /// Gives a child that takes it another task.
    pub(super) fn assign(&mut self, id: TaskId, now: Instant) {
        if let Some(child) = self.child_mut() {
            child.runs.push(Run { id, since: now, alone: false, started: false });
        }
    }

    /// The same, with nothing given ahead until the child has started it: it comes another way, and must not be overtaken.
    pub(super) fn assign_alone(&mut self, id: TaskId, now: Instant) {
        if let Some(child) = self.child_mut() {
            child.runs.push(Run { id, since: now, alone: child.ahead > 0, started: false });
        }
    }

    /// Takes back a task that the child has not started, and will not.
    pub(super) fn unassign(&mut self, id: &TaskId) {
        if let Some(child) = self.child_mut() {
            child.runs.retain(|run| run.id != *id);
        }
    }

    /// The child started a task. False if it was not given that.
    pub(super) fn started(&mut self, id: &TaskId, now: Instant) -> bool {
        let runs = self.child_mut().map_or(&mut [][..], |child| &mut child.runs);
        let run = runs.iter_mut().find(|run| run.id == *id);
        run.map(|run| (run.since, run.started) = (now, true)).is_some()
    }

    /// The child ended a task by itself. False if it was not given that.
    ///
    /// If it was to be killed because of that task and no signal has been sent, it lives on.
    pub(super) fn done(&mut self, id: &TaskId, now: Instant) -> bool {
        let leave = self.rules.leave;
        let Some(child) = self.child_mut() else { return false };
        let Some(at) = child.runs.iter().position(|run| run.id == *id) else { return false };
        child.runs.remove(at);
        child.urged.retain(|urged| urged.id != *id);
        child.tasks += 1;
        if let Some(sentence) = child.sentence.take_if(|it| it.may_be_lifted_by(id)) {
            child.sentence = sentence.lifted();
        }
        let is_idle = child.runs.is_empty();
        if let Some(mild) = child.sentence.as_mut().filter(|sentence| is_idle && !sentence.doom.kills()) {
            mild.next = Some((now + leave, Blow::GiveUp));
        }
        self.failures = 0;
        true
    }

    /// Decides that the child shall end, because of this task if the doom is of one. From now on it gets no more tasks.
    ///
    /// A milder sentence than the standing one changes nothing. A child that runs several tasks does not end for one of them.
    pub(super) fn condemn(&mut self, doom: Doom, task: Option<&TaskId>, now: Instant) -> Option<Action> {
        let Rules { answer, leave, .. } = self.rules;
        let child = self.child_mut()?;
        if child.sentence.as_ref().is_some_and(|standing| standing.outweighs(doom.severity())) {
            return None;
        }
        let task = task.filter(|id| child.jobs == 1 && child.run(id).is_some());
        let (next, struck, action) = match (&doom, task) {
            (doom, _) if !doom.kills() => {
                (child.runs.is_empty().then_some((now + leave, Blow::GiveUp)), false, Action::Stop)
            }
            (doom, Some(id)) if doom.is_of_its_task() => {
                (Some((now + answer, Blow::Terminate)), false, Action::Confirm(id.clone()))
            }
            (doom, None) if doom.is_of_its_task() => return None,
            _ => (None, true, Action::Kill),
        };
        // A child that is already being killed for one reason does not die of another.
        match &mut child.sentence {
            Some(standing) if standing.struck => standing.next = None,
            sentence => {
                let milder = sentence.take().map(|standing| standing.doom).filter(|milder| !milder.kills());
                *sentence = Some(Sentence { doom, task: task.cloned(), next, struck, milder });
            }
        }
        Some(action)
    }

    /// A child of several tasks has been told to stop this one: it is to show that it can do anything at all.
    pub(super) fn urge(&mut self, id: &TaskId, why: Doom, now: Instant) -> Option<Action> {
        let child = self.child_mut()?;
        let is_urged = child.urged.iter().any(|urged| urged.id == *id);
        if is_urged || child.run(id).is_none() {
            return None;
        }
        child.urged.push(Urged { id: id.clone(), why, since: now });
        Some(Action::Confirm(id.clone()))
    }

    /// How long the child has kept still instead of stopping a task, if that is too long.
    pub(super) fn is_blocked(&self, now: Instant) -> Option<Duration> {
        let child = self.child()?;
        let still = now.duration_since(child.urged.first()?.since);
        (still >= self.rules.react && !child.is_struck()).then_some(still)
    }

    /// The child answered that it still runs this task: if it is to be killed for that, now it is. One that was told to stop it
    /// goes on if the task does.
    pub(super) fn confirmed(&mut self, id: &TaskId, now: Instant) -> Option<Action> {
        if let Some(child) = self.child_mut() {
            child.urged.retain(|urged| urged.id != *id);
        }
        let runs = self.child().is_some_and(|child| child.run(id).is_some());
        let asked = self.sentence_mut().is_some_and(|sentence| sentence.may_be_lifted_by(id));
        (runs && asked).then(|| self.strike(Blow::Terminate, now))
    }

    /// Carries out what has become due.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Action> {
        self.reprieve(now);
        match self.sentence_mut()?.next {
            Some((due, blow)) if due <= now => Some(self.strike(blow, now)),
            _ => None,
        }
    }

    /// A child that has not confirmed its task gets no signal that it may survive: who knows what it would interrupt.
    fn reprieve(&mut self, now: Instant) {
        let Some(child) = self.child_mut() else { return };
        let is_late = |next: Option<(Instant, Blow)>| next.is_some_and(|(due, _)| due <= now);
        let reprieved =
            child.sentence.take_if(|it| !it.struck && !it.doom.signal().is_final() && is_late(it.next));
        if let Some(sentence) = reprieved {
            child.sentence = sentence.lifted();
        }
    }

    /// Sends the signal that was asked for. One that a process may survive is sent once, and the task ends as it ends.
    fn strike_with(&mut self, id: TaskId, signal: Signum, now: Instant) -> Action {
        let grace = self.rules.grace;
        if let Some(sentence) = self.sentence_mut() {
            sentence.struck = signal.is_final();
            sentence.next = (sentence.struck && signal != Signum::KILL).then_some((now + grace, Blow::Kill));
        }
        Action::Signal(id, signal)
    }

    fn strike(&mut self, blow: Blow, now: Instant) -> Action {
        let Rules { grace, hard_grace, leave, .. } = self.rules;
        let is_overdue = self.sentence_mut().is_some_and(|sentence| sentence.doom == Doom::HardLimit);
        let grace = if is_overdue { hard_grace } else { grace };
        let signal = self.sentence_mut().map_or(Signum::TERM, |sentence| sentence.doom.signal());
        if matches!(blow, Blow::Terminate)
            && signal != Signum::TERM
            && let Some(id) = self.sentence_mut().and_then(|sentence| sentence.task.clone())
        {
            return self.strike_with(id, signal, now);
        }
        let (next, action) = match blow {
            Blow::GiveUp | Blow::Terminate => (Some((now + grace, Blow::Kill)), Action::Terminate),
            Blow::Kill => (None, Action::Kill),
        };
        if let Some(sentence) = self.sentence_mut() {
            if matches!(blow, Blow::GiveUp) {
                sentence.doom = Doom::Lingering(leave);
            }
            sentence.next = next;
            sentence.struck = true;
        }
        action
    }

    /// How long the child has been silent, if that is too long: still so at a second look that came when it was due.
    pub(super) fn too_silent(&mut self, now: Instant) -> Option<Duration> {
        let rules = self.rules;
        let child = self.child_mut()?;
        let due = child.silent_from(rules)?;
        if now < due.at {
            return None;
        }
        match child.suspected {
            Some(at) if now < at + SECOND_LOOK => Some(now.duration_since(due.since)),
            _ => {
                child.suspected = Some(now + SECOND_LOOK);
                None
            }
        }
    }

    /// When the next thing is to be done here without anything happening.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match &self.life {
            Life::Down { due } => Some(*due),
            Life::Spawning | Life::Closed => None,
            Life::Alive(child) => {
                let blow = child.sentence.as_ref().and_then(|sentence| sentence.next).map(|(due, _)| due);
                let silent = child.silent_from(self.rules).map(|due| due.at);
                let urged = child.urged.first().filter(|_| !child.is_struck());
                let blocked = urged.map(|urged| urged.since + self.rules.react);
                blow.into_iter().chain(silent).chain(blocked).min()
            }
        }
    }

    /// The child is dead. The next one is due at once, or after a back-off if this one never became ready.
    pub(super) fn died(&mut self, ending: Ending, oom_kills_rose: bool, now: Instant) -> Option<Death> {
        let Life::Alive(child) = std::mem::replace(&mut self.life, Life::Down { due: now }) else {
            return None;
        };
        let was_ready = child.phase == Phase::Ready;
        let child = *child;
        let doom = child.sentence.map(|sentence| sentence.doom);
        // A child that was to end after its task, and ended in its midst, did not end because it was told to.
        let doom = doom.filter(|doom| doom.kills() || child.runs.is_empty());
        let fell_silent = matches!(doom, Some(Doom::Silent { .. }));
        let was_blocked = matches!(doom, Some(Doom::Blocked(_)));
        let reason = doom::classify(Evidence { ending, doom, was_ready, said: child.said, oom_kills_rose });
        if !was_ready || fell_silent {
            let delay = self.back_off();
            self.life = Life::Down { due: now + delay };
        }
        let lost = |run: Run| {
            let urged = child.urged.iter().find(|urged| urged.id == run.id && was_blocked);
            let reason = urged.map_or_else(|| reason.clone(), |urged| urged.why.clone().into_reason());
            Lost { id: run.id, runtime: now.duration_since(run.since), reason }
        };
        let runs = child.runs.into_iter().map(lost).collect();
        Some(Death { reason, runs, lived: now.duration_since(child.born) })
    }

    /// No further child comes into this slot.
    pub(super) fn close(&mut self) {
        if let Life::Down { .. } = self.life {
            self.life = Life::Closed;
        }
    }

    fn back_off(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff::delay(self.failures)
    }

    /// How far the child has come, if there is one.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.child().map(|child| child.phase)
    }

    /// How many tasks the child has ended.
    pub(super) fn tasks(&self) -> u64 {
        self.child().map_or(0, |child| child.tasks)
    }

    /// The memory of the child when it became ready, and when it was last measured, in bytes.
    pub(super) fn memory(&self) -> Option<(u64, u64)> {
        let child = self.child()?;
        (child.phase == Phase::Ready).then_some((child.start_memory, child.memory))
    }

    /// How many children in a row failed to start.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The task that the child runs; of several, the one it was given first.
    /// Tasks that were given ahead come behind it.
    pub(super) fn task(&self) -> Option<&TaskId> {
        self.child()?.runs.first().map(|run| &run.id)
    }

    fn child(&self) -> Option<&Child> {
        match &self.life {
            Life::Alive(child) => Some(child),
            _ => None,
        }
    }

    fn child_mut(&mut self) -> Option<&mut Child> {
        match &mut self.life {
            Life::Alive(child) => Some(child),
            _ => None,
        }
    }

    fn sentence_mut(&mut self) -> Option<&mut Sentence> {
        self.child_mut()?.sentence.as_mut()
    }
}

#[cfg(test)]
mod tests;
