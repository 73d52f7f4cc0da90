//! Whether the kernel's out-of-memory killer has been at work, as its counters tell.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// How long after the counter rose a death by SIGKILL is still put down to it.
const MEMORY: Duration = Duration::from_secs(10);

/// A counter of kills for want of memory, in the group of processes this one belongs to.
#[derive(Debug)]
pub(super) struct OomKills {
    counter: Option<PathBuf>,
    seen: u64,
    /// Kills that no death has been put down to yet, and when they were noticed.
    unexplained: Option<(u64, Instant)>,
}

impl OomKills {
    /// Watches the counter of this process's control group, or of the machine where there is none.
    pub(super) fn of_this_group() -> Self {
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let known = counters_of(&group).into_iter().find(|path| read(path).is_some());
        Self::at(known)
    }

    /// Watches this file, which has a line `oom_kill N`.
    pub(super) fn at(counter: Option<PathBuf>) -> Self {
        let seen = counter.as_deref().and_then(read).unwrap_or(0);
        Self { counter, seen, unexplained: None }
    }

    /// Whether a kill was counted that explains a death noticed now; each kill explains one.
    pub(super) fn explain_one(&mut self, now: Instant) -> bool {
        self.look(now);
        match self.unexplained {
            Some((kills, noticed)) if now.duration_since(noticed) < MEMORY => {
                self.unexplained = (kills > 1).then_some((kills - 1, noticed));
                true
            }
            _ => {
                self.unexplained = None;
                false
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let Some(count) = self.counter.as_deref().and_then(read) else { return };
        if count > self.seen {
            let before = self.unexplained.map_or(0, |(kills, _)| kills);
            self.unexplained = Some((before + count - self.seen, now));
            self.seen = count;
        }
    }
}

/// Where the counter of a process may be, the nearest first: its group in cgroup v2, v1, the machine.
fn counters_of(group: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in group.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            paths.push(Path::new("/sys/fs/cgroup").join(path).join("memory.events"));
        } else if controllers.split(',').any(|name| name == "memory") {
            paths.push(Path::new("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"));
        }
    }
    paths.push("/proc/vmstat".into());
    paths
}

fn read(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counted_kill_explains_one_death() {
        let folder = tempfile::tempdir().unwrap();
        let counter = folder.path().join("memory.events");
        fs::write(&counter, "low 0\noom 1\noom_kill 3\n").unwrap();
        let mut kills = OomKills::at(Some(counter.clone()));
        let now = Instant::now();
        assert!(!kills.explain_one(now), "what was counted before the start explains nothing");

        fs::write(&counter, "oom_kill 5\n").unwrap();
        assert!(kills.explain_one(now));
        assert!(kills.explain_one(now));
        assert!(!kills.explain_one(now));

        fs::write(&counter, "oom_kill 7\n").unwrap();
        assert!(kills.explain_one(now));
        assert!(!kills.explain_one(now + MEMORY), "an old kill explains no fresh death");
    }

    #[test]
    fn the_nearest_counter_comes_first() {
        let paths = counters_of("12:cpu,memory:/docker/x\n0::/system.slice/worker.service\n");
        let paths: Vec<_> = paths.iter().filter_map(|path| path.to_str()).collect();
        let expected = [
            "/sys/fs/cgroup/memory/docker/x/memory.oom_control",
            "/sys/fs/cgroup/system.slice/worker.service/memory.events",
            "/proc/vmstat",
        ];
        assert_eq!(paths, expected);
    }
}
