//! When a child has served long enough.

use super::doom::Doom;

/// When a child is replaced although nothing is wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// After so many tasks.
    pub(crate) max_tasks: Option<u64>,
    /// Once it holds so many bytes more than when it became ready.
    ///
    /// Celery's `worker_max_memory_per_child` counts from zero, so that a child which starts above the limit runs
    /// one task only. Ours counts from the start, and a limit below what a fresh child needs is refused.
    pub(crate) max_memory: Option<u64>,
}

impl Limits {
    /// Whether a child that has run `tasks`, and held `start` and now `memory` bytes, is to be replaced.
    pub(super) fn due(&self, tasks: u64, memory: Option<(u64, u64)>) -> Option<Doom> {
        if self.max_tasks.is_some_and(|most| tasks >= most) {
            return Some(Doom::RecycleTasks { tasks });
        }
        let (start, memory) = memory?;
        let grown = memory.saturating_sub(start);
        self.max_memory.is_some_and(|most| grown > most).then_some(Doom::RecycleMemory { grown })
    }

    /// What is wrong with the memory limit, if a fresh child holds `start` bytes.
    pub(super) fn refuse(&self, start: u64) -> Option<String> {
        let limit = self.max_memory.filter(|limit| *limit < start)?;
        Some(format!(
            "{} KiB is less than the {} KiB that a child holds before its first task; \
             the limit counts what comes on top, so more than that is certainly meant",
            limit / 1024,
            start / 1024
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_from_the_start_of_the_child() {
        let limits = Limits { max_tasks: None, max_memory: Some(100) };
        assert_eq!(limits.due(1_000, Some((5_000, 5_100))), None);
        assert_eq!(limits.due(1, Some((5_000, 5_101))), Some(Doom::RecycleMemory { grown: 101 }));
        assert!(limits.refuse(101).is_some());
        assert!(limits.refuse(100).is_none());
    }

    #[test]
    fn the_last_task_is_the_last() {
        let limits = Limits { max_tasks: Some(3), max_memory: None };
        assert_eq!(limits.due(2, None), None);
        assert_eq!(limits.due(3, None), Some(Doom::RecycleTasks { tasks: 3 }));
    }
}
