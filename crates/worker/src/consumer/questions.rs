//! What remote control asks the loop.

use std::collections::HashMap;

use celeriac_protocol::Value;

use crate::consumer::Consumer;
use crate::control::{Held, Numbers, Question, Refusal};
use crate::events::Load;
use crate::pool::prefork::HostPoolKind;
use crate::pool::{PoolKind, StopReason};
use crate::shutdown::Asked;

/// A pool that was told to grow beyond this was told so by mistake: processes or threads, and async tasks at once.
const MOST_PROCESSES: usize = 10_000;
const MOST_ASYNC: usize = 1_000_000;

impl Consumer {
    pub(super) fn question(&mut self, question: Question) {
        match question {
            // Who asked may have lost patience.
            Question::Requests(answer) => drop(answer.send(self.held())),
            Question::Terminate(ids, signal, answer) => {
                let reason = StopReason::Terminated(signal);
                let stopped = ids.into_iter().filter(|id| self.stop_task(id, Some(reason))).collect();
                drop(answer.send(stopped));
            }
            Question::Numbers(answer) => drop(answer.send(self.numbers())),
            Question::Load(answer) => drop(answer.send(self.load())),
            Question::RateLimit(task, rate, done) => {
                self.set_rate_limit(&task, rate);
                let _ = done.send(());
            }
            Question::TimeLimits(task, limits, done) => {
                self.set_time_limits(&task, limits);
                let _ = done.send(());
            }
            Question::Consume(queues, done) => {
                // Without a fetcher the worker has ended.
                let _ = self.wires.queues.send(queues.clone());
                self.queues = queues;
                self.announce();
                let _ = done.send(());
            }
            Question::Resize(by, answer) => drop(answer.send(self.resize(by))),
            Question::Restart(done) => {
                self.lanes.iter_mut().for_each(|lane| lane.pool.restart());
                let _ = done.send(());
            }
            Question::Shutdown => self.asked(Asked::ONCE),
        }
    }

    fn load(&self) -> Load {
        let active = self.lanes.iter().map(|lane| lane.running).sum();
        Load { active, started: self.totals.started().map(|(_, count)| count).sum() }
    }

    /// All requests, those that came first before the others.
    fn held(&self) -> Vec<Held> {
        let children = self.children();
        let mut held: Vec<Held> = self
            .table
            .iter()
            .map(|(_, entry)| Held {
                request: entry.request.clone(),
                state: entry.state,
                started: entry.started.as_ref().map(|started| started.since),
                pid: entry.started.as_ref().and_then(|started| match started.executor.as_deref() {
                    Some(child) if entry.pool.has_children() => children.get(child).copied(),
                    _ => Some(std::process::id()),
                }),
                acknowledged: entry.acknowledged.is_some(),
            })
            .collect();
        held.sort_by_key(|held| held.request.delivery.tag);
        held
    }

    /// How much the worker has done, and with what.
    fn numbers(&self) -> Numbers {
        let pools: Vec<_> = self.lanes.iter().map(|lane| (lane.pool.kind(), lane.pool.size())).collect();
        let mut numbers = Numbers {
            started: self.totals.started().map(|(name, count)| (name.clone(), count)).collect(),
            slots: pools.iter().map(|(_, slots)| slots).sum(),
            prefetch: self.prefetch.count(),
            pools,
            children: Vec::new(),
            busy: 0,
        };
        let with_children = self.lanes.iter().filter(|lane| lane.pool.kind().has_children());
        for row in with_children.flat_map(|lane| rows_of(lane.pool.facts())) {
            let number =
                |name: &str| row.get(name).and_then(Value::as_i64).and_then(|it| u64::try_from(it).ok());
            let running = number("running").unwrap_or(0);
            if let Some(pid) = number("pid").and_then(|pid| u32::try_from(pid).ok()) {
                numbers.children.push((pid, number("tasks").unwrap_or(0) + running));
                numbers.busy += usize::from(running > 0);
            }
        }
        numbers
    }

    /// Gives every pool whose size is the concurrency of the worker so many processes or threads more, or less. Where there is
    /// none of these, so many async tasks more may run at once.
    fn resize(&mut self, by: isize) -> Result<(), Refusal> {
        let refused = |text: &str| Err(Refusal::new("ValueError", text));
        let has_one_process = self.options.host_pool.kind != HostPoolKind::Prefork;
        if has_one_process && self.lanes.iter().any(|lane| lane.pool.kind() == PoolKind::Python) {
            return refused("this pool has one process");
        }
        let of_kinds = |kinds: &[PoolKind]| {
            let places = self.lanes.iter().enumerate();
            let fitting = places.filter(|(_, lane)| kinds.contains(&lane.pool.kind()));
            fitting.map(|(place, lane)| (place, lane.pool.width())).collect::<Vec<_>>()
        };
        let mut sized = of_kinds(&[PoolKind::Python, PoolKind::Prefork, PoolKind::Threads]);
        let mut most = MOST_PROCESSES;
        if sized.is_empty() {
            (sized, most) = (of_kinds(&[PoolKind::Async]), MOST_ASYNC);
        }
        if sized.is_empty() {
            return refused("this worker has no pool that can be resized");
        }
        for (_, width) in &mut sized {
            *width = match width.checked_add_signed(by) {
                None | Some(0) => return refused("a pool keeps one process or thread at least"),
                Some(many) if many > most => return refused(&format!("a pool has {most} slots at most")),
                Some(many) => many,
            };
        }
        let resized = sized.into_iter().try_for_each(|(place, width)| self.lanes[place].resize(width));
        let slots = self.lanes.iter().map(|lane| lane.pool.size()).sum();
        self.prefetch = self.prefetch.resized(slots);
        resized.map_err(|error| Refusal::new("OSError", error.to_string()))
    }

    /// The processes of the children by their names.
    fn children(&self) -> HashMap<Box<str>, u32> {
        let pools = self.lanes.iter().filter(|lane| lane.pool.kind().has_children());
        let of_row = |row: Value| {
            let pid = u32::try_from(row.get("pid")?.as_i64()?).ok()?;
            Some((row.get("name")?.as_str()?.into(), pid))
        };
        pools.flat_map(|lane| rows_of(lane.pool.facts())).filter_map(of_row).collect()
    }
}

/// What a pool tells of each of its members.
pub(super) fn rows_of(facts: Value) -> Vec<Value> {
    match facts {
        Value::List(rows) => rows,
        _ => Vec::new(),
    }
}
