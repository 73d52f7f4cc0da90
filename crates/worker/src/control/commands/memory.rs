//! How much memory the worker holds: `memsample`, `memdump`, `objgraph`.

use std::fmt::Write as _;

use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::panel::{Panel, Refusal};

/// The most samples that are kept; those before them are forgotten.
const KEPT: usize = 10_000;

/// How many samples `memdump` shows unless it is told.
const SHOWN: usize = 10;

/// What `memsample` has found since the last `memdump`.
#[derive(Debug, Default)]
pub(crate) struct MemorySamples(Vec<String>);

impl Panel {
    /// The resident memory of this process.
    ///
    /// Source: `sample_mem`, `celery/utils/debug.py`, Celery 5.7.0.
    pub(in crate::control) fn sample_memory(&mut self) -> Value {
        let Some(resident) = resident_bytes().map(humanized) else { return Value::Null };
        let samples = &mut self.memory.0;
        if samples.len() == KEPT {
            samples.remove(0);
        }
        samples.push(resident.clone());
        resident.into()
    }

    /// The samples, which are forgotten with that, and the memory now.
    ///
    /// Source: `memdump`, `celery/utils/debug.py`, Celery 5.7.0.
    pub(in crate::control) fn dump_memory(&mut self, command: &ControlCommand) -> Value {
        let shown = command.argument("samples").and_then(Value::as_i64);
        let shown = shown.map_or(SHOWN, |shown| usize::try_from(shown).unwrap_or(0));
        let samples = std::mem::take(&mut self.memory.0);
        let Some(now) = resident_bytes().map(humanized) else {
            return "- rss: (not known on this system).\n".into();
        };
        dumped(&samples, shown, &now).into()
    }

    /// A picture of Python objects, made by a library that the application may have installed.
    pub(in crate::control) async fn graph_objects(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        let graph = self.reply_of_application(command).await?;
        graph.ok_or_else(|| {
            Refusal::new("NotImplementedError", "a worker without Python has no graph of objects")
        })
    }
}

/// What is resident of this process, in bytes, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn dumped(samples: &[String], shown: usize, now: &str) -> String {
    let mut text = String::new();
    if !samples.is_empty() {
        text.push_str("- rss (sample):\n");
    }
    // Spread over all of them.
    let count = shown.min(samples.len());
    for sample in (0..count).map(|at| &samples[at * samples.len() / count]) {
        let _ = writeln!(text, "-    > {sample},");
    }
    let _ = writeln!(text, "- rss (end): {now}.");
    text
}

/// Bytes as people read them: five digits, and the unit that fits.
///
/// Source: `humanbytes`, `celery/utils/debug.py`, Celery 5.7.0.
fn humanized(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let Some((size, unit)) = units.into_iter().find(|(size, _)| bytes >= *size) else {
        return format!("{bytes}b");
    };
    if bytes.is_multiple_of(size) {
        return format!("{}{unit}", bytes / size);
    }
    let number = bytes as f64 / size as f64;
    let digits = (bytes / size).to_string().len();
    let text = format!("{number:.*}", 5_usize.saturating_sub(digits).max(1));
    let text = text.trim_end_matches('0');
    format!("{text}{}{unit}", if text.ends_with('.') { "0" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_in_celery() {
        let shown = [0, 512, 1024, 1536, 53_687_091, 1 << 30, 1_700_000_000].map(humanized);
        assert_eq!(shown, ["0b", "512b", "1KB", "1.5KB", "51.2MB", "1GB", "1.5832GB"]);
    }

    #[test]
    fn samples_are_spread() {
        let samples: Vec<String> = (0..6).map(|number| format!("{number}MB")).collect();
        assert_eq!(
            dumped(&samples, 2, "9MB"),
            "- rss (sample):\n-    > 0MB,\n-    > 3MB,\n- rss (end): 9MB.\n"
        );
        assert_eq!(dumped(&[], 2, "9MB"), "- rss (end): 9MB.\n");
        assert_eq!(dumped(&samples, 0, "9MB"), "- rss (sample):\n- rss (end): 9MB.\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_holds_memory() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
