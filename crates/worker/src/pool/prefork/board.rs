//! What people may know of the children at any time, for `inspect`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_protocol::{TaskId, Value};

/// What is known of each slot. Cheap to clone; every clone is the same board.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Mutex<Vec<Row>>>);

/// What is known of one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: Box<str>,
    pub(super) pid: Option<u32>,
    pub(super) phase: &'static str,
    /// The task it runs; of several, the one it was given first.
    pub(super) task: Option<TaskId>,
    /// How many tasks it runs.
    pub(super) running: usize,
    pub(super) tasks: u64,
    pub(super) memory: u64,
    pub(super) failed_starts: u32,
    pub(super) last_death: Option<Box<str>>,
    pub(super) resources: Value,
    /// Whether one of these could not be built.
    pub(super) is_failing: bool,
    /// Whether the pool has given up the slot.
    pub(super) is_gone: bool,
}

impl Board {
    pub(super) fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![Row { phase: "down", ..Row::default() }; slots])))
    }

    /// Makes room for so many slots, if there is less.
    pub(super) fn grow(&self, slots: usize) {
        let mut rows = self.rows();
        let slots = slots.max(rows.len());
        rows.resize_with(slots, || Row { phase: "down", ..Row::default() });
    }

    /// Changes the row of one slot.
    pub(super) fn edit(&self, slot: usize, edit: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows().get_mut(slot) {
            edit(row);
        }
    }

    /// Everything, as a list with a map for each slot.
    pub(super) fn to_value(&self) -> Value {
        Value::List(self.rows().iter().filter(|row| !row.is_gone).map(Row::to_value).collect())
    }

    /// Whether a child cannot get ready, as far as is known.
    pub(super) fn is_held_up(&self) -> bool {
        self.rows().iter().any(|row| !row.is_gone && (row.is_failing || row.failed_starts > 0))
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn to_value(&self) -> Value {
        let text = |text: &str| Value::String(text.into());
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let entries = [
            ("name", text(&self.name)),
            ("pid", self.pid.map_or(Value::Null, |pid| number(pid.into()))),
            ("phase", text(self.phase)),
            ("task", self.task.as_ref().map_or(Value::Null, |id| text(id.as_str()))),
            ("running", number(self.running as u64)),
            ("tasks", number(self.tasks)),
            ("memory", number(self.memory)),
            ("failed_starts", number(self.failed_starts.into())),
            ("last_death", self.last_death.as_deref().map_or(Value::Null, text)),
            ("resources", self.resources.clone()),
        ];
        Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}
