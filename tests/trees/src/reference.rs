//! What comes of a composition when everything runs one after the other.

use std::collections::{BTreeMap, BTreeSet};

use celeriac_app::protocol::{ResultRecord, State, TaskId, Value};

use crate::perform::sum;
use crate::tree::folded;
use crate::{Cause, Deed, Fault, Task, Tree};

/// What comes of each task of a composition, its callbacks and errbacks included.
#[derive(Debug, Default)]
pub struct Reference {
    /// By the ids of the tasks.
    pub nodes: BTreeMap<TaskId, Node>,
}

/// What comes of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// How often it runs, if nothing goes wrong.
    pub runs: u32,
    /// Its result; nothing if it is never called.
    pub end: Option<End>,
}

/// The result of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It returned this.
    Value(Value),
    /// It failed, or never ran: one of these is why. Of several members of a chord that fail, the first one is told of.
    Fault(BTreeSet<Fault>),
}

/// What comes out of a composition.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The result of the task that ends it.
    Task(End),
    /// What comes out of each of its members.
    Group(Vec<Outcome>),
}

impl End {
    /// Whether this is the result.
    pub fn is(&self, record: &ResultRecord) -> bool {
        match self {
            Self::Value(value) => record.state == State::Success && record.result == *value,
            Self::Fault(faults) => Fault::found(record).is_some_and(|fault| faults.contains(&fault)),
        }
    }
}

impl Reference {
    /// What comes of this composition.
    pub fn of(tree: &Tree) -> (Self, Outcome) {
        let mut reference = Self::default();
        reference.enter(tree);
        let outcome = reference.run(tree, &Value::Null);
        (reference, outcome)
    }

    /// Knows of all tasks, those that are never called included.
    fn enter(&mut self, tree: &Tree) {
        match tree {
            Tree::Task(task) => {
                self.nodes.insert(task.id.clone(), Node { number: task.number, runs: 0, end: None });
                task.callback.iter().chain(&task.errback).for_each(|tree| self.enter(tree));
            }
            Tree::Chain(trees) | Tree::Group(trees) => trees.iter().for_each(|tree| self.enter(tree)),
            Tree::Chord(header, body) => header.iter().chain([&**body]).for_each(|tree| self.enter(tree)),
        }
    }

    fn end(&mut self, task: &Task, runs: u32, end: End) -> Outcome {
        let node = Node { number: task.number, runs, end: Some(end.clone()) };
        let before = self.nodes.insert(task.id.clone(), node);
        assert_eq!(before.and_then(|node| node.end), None, "{task:?} ends once");
        Outcome::Task(end)
    }

    fn run(&mut self, tree: &Tree, input: &Value) -> Outcome {
        match tree {
            Tree::Task(task) => self.run_task(task, input),
            Tree::Group(members) => {
                Outcome::Group(members.iter().map(|tree| self.run(tree, input)).collect())
            }
            Tree::Chord(header, body) => {
                let header = header.iter().map(|tree| self.run(tree, input)).collect();
                match Outcome::Group(header).result() {
                    Ok(value) => self.run(body, &value),
                    Err(causes) => self.fail_body(body, &causes),
                }
            }
            Tree::Chain(steps) => {
                let steps = with_chords(&folded(steps));
                let (first, rest) = steps.split_first().expect("chains have steps");
                rest.iter().fold(self.run(first, input), |before, step| match before.result() {
                    Ok(value) => self.run(step, &value),
                    Err(faults) => self.strike(step, &faults),
                })
            }
        }
    }

    fn run_task(&mut self, task: &Task, input: &Value) -> Outcome {
        let cause = match task.deed {
            Deed::Add(adds) | Deed::AddLater(adds) => {
                let value = Value::Int(adds + if task.immutable { 0 } else { sum(input) });
                if let Some(callback) = &task.callback {
                    self.run(callback, &value);
                }
                let runs = if matches!(task.deed, Deed::Add(_)) { 1 } else { 2 };
                return self.end(task, runs, End::Value(value));
            }
            Deed::Fail => Cause::Failed(task.number),
            Deed::Expire => Cause::Expired,
        };
        if let Some(errback) = &task.errback {
            self.run(errback, &Value::Null);
        }
        let runs = u32::from(cause != Cause::Expired);
        self.end(task, runs, End::Fault([Fault { of_chord: false, cause }].into()))
    }

    /// Nothing of this runs, because of what came before it in its chain.
    fn strike(&mut self, tree: &Tree, faults: &BTreeSet<Fault>) -> Outcome {
        match tree {
            Tree::Task(task) => self.end(task, 0, End::Fault(faults.clone())),
            Tree::Group(members) => {
                Outcome::Group(members.iter().map(|tree| self.strike(tree, faults)).collect())
            }
            Tree::Chord(header, body) => {
                header.iter().for_each(|tree| drop(self.strike(tree, faults)));
                self.strike(body, faults)
            }
            Tree::Chain(steps) => {
                let struck = folded(steps).iter().map(|step| self.strike(step, faults)).last();
                struck.expect("chains have steps")
            }
        }
    }

    /// The header of this body has failed. The members of a group hear of the member that failed, everything else of the
    /// chord.
    fn fail_body(&mut self, body: &Tree, causes: &BTreeSet<Fault>) -> Outcome {
        let outcome = match body {
            Tree::Group(_) => self.strike(body, causes),
            _ => self.strike(body, &causes.iter().map(|fault| fault.to_chord()).collect()),
        };
        self.call_errbacks(body);
        outcome
    }

    /// Those of what a body results in.
    fn call_errbacks(&mut self, body: &Tree) {
        match body {
            Tree::Task(task) => task.errback.iter().for_each(|tree| drop(self.run(tree, &Value::Null))),
            Tree::Group(members) => members.iter().for_each(|tree| self.call_errbacks(tree)),
            Tree::Chord(_, body) => self.call_errbacks(body),
            Tree::Chain(_) => {}
        }
    }
}

impl Outcome {
    /// What the next step gets, or all that it might fail with.
    fn result(&self) -> Result<Value, BTreeSet<Fault>> {
        match self {
            Self::Task(End::Value(value)) => Ok(value.clone()),
            Self::Task(End::Fault(faults)) => Err(faults.clone()),
            Self::Group(members) => {
                let results: Vec<_> = members.iter().map(Self::result).collect();
                let faults: BTreeSet<Fault> =
                    results.iter().filter_map(|result| result.as_ref().err()).flatten().copied().collect();
                match faults.is_empty() {
                    true => Ok(Value::List(results.into_iter().filter_map(Result::ok).collect())),
                    false => Err(faults),
                }
            }
        }
    }
}

/// The steps of a chain, with groups that are followed by something made chords.
fn with_chords(steps: &[Tree]) -> Vec<Tree> {
    let mut made: Vec<Tree> = Vec::new();
    for step in steps.iter().rev() {
        match (step, made.pop()) {
            (Tree::Group(members), Some(body)) => made.push(Tree::Chord(members.clone(), Box::new(body))),
            (step, body) => made.extend(body.into_iter().chain([step.clone()])),
        }
    }
    made.reverse();
    made
}
