//! Drawing compositions.

use celeriac_app::protocol::TaskId;
use fastrand::Rng;

use crate::{Deed, TASKS, Task, Tree};

/// How deep compositions are nested.
const DEPTH: u32 = 3;

/// Draws compositions; the same ones for the same seed.
pub struct Nursery {
    dice: Rng,
    seed: u64,
    tasks: u32,
}

impl Nursery {
    /// A nursery. Those of different seeds give different ids.
    pub fn new(seed: u64) -> Self {
        Self { dice: Rng::with_seed(seed), seed, tasks: 0 }
    }

    /// Draws a composition.
    pub fn tree(&mut self) -> Tree {
        self.draw(DEPTH, true)
    }

    /// How many tasks there are in what was drawn so far.
    pub fn tasks(&self) -> u32 {
        self.tasks
    }

    /// `calls`: whether its tasks may have callbacks and errbacks, which have none themselves.
    fn draw(&mut self, depth: u32, calls: bool) -> Tree {
        match if depth == 0 { 0 } else { self.dice.u32(0..10) } {
            0..4 => Tree::Task(Box::new(self.draw_task(calls))),
            4..7 => {
                let steps = self.dice.usize(2..5);
                Tree::Chain((0..steps).map(|_| self.draw(depth - 1, calls)).collect())
            }
            7..8 => Tree::Group(self.draw_members(depth - 1, calls)),
            _ => {
                let header = self.draw_members(depth - 1, calls);
                let mut body = self.draw(depth - 1, calls);
                if let Tree::Chain(steps) = &mut body {
                    forget_errbacks(&mut steps[0]);
                }
                Tree::Chord(header, Box::new(body))
            }
        }
    }

    fn draw_members(&mut self, depth: u32, calls: bool) -> Vec<Tree> {
        let members = self.dice.usize(2..6);
        let draw = |_| loop {
            match self.draw(depth, calls) {
                Tree::Group(_) => {}
                member => return member,
            }
        };
        (0..members).map(draw).collect()
    }

    fn draw_task(&mut self, calls: bool) -> Task {
        let number = self.tasks;
        self.tasks += 1;
        let id = TaskId::new(format!(
            "{:08x}-{:04x}-{:04x}-0000-0000{number:08x}",
            self.seed >> 32,
            self.seed >> 16 & 0xffff,
            self.seed & 0xffff,
        ));
        let added = self.dice.i64(0..100);
        let deed = match self.dice.u32(0..50) {
            0..2 => Deed::Fail,
            2 => Deed::Expire,
            3..6 => Deed::AddLater(added),
            _ => Deed::Add(added),
        };
        // A process costs more than a thread, but is another way to end.
        let kind = self.dice.usize(0..TASKS.len() * 2) % TASKS.len();
        let immutable = self.dice.u32(0..8) == 0;
        let mut call = |one_in: u32| {
            (calls && self.dice.u32(0..one_in) == 0).then(|| {
                let depth = self.dice.u32(0..2);
                self.draw(depth, false)
            })
        };
        let (callback, errback) = (call(10), call(5));
        Task { id, number, kind, deed, immutable, callback, errback }
    }
}

/// Whether the errbacks of the first step of a body are called when its chord fails depends, in Celery, on how the steps were
/// put together: those of a chain are not called, but a chain that follows a chord is taken apart.
fn forget_errbacks(tree: &mut Tree) {
    match tree {
        Tree::Task(task) => task.errback = None,
        Tree::Chain(trees) | Tree::Group(trees) => trees.iter_mut().for_each(forget_errbacks),
        Tree::Chord(header, body) => {
            header.iter_mut().for_each(forget_errbacks);
            forget_errbacks(body);
        }
    }
}
