//! On what the figures were measured.

use std::fs;

/// One line on the processor, its cores, the memory and the kernel.
pub(crate) fn describe() -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .map_or_else(|| "unknown".into(), |kib| format!("{:.0} GiB", kib as f64 / 1024.0 / 1024.0));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{processor}, {cores} cores, {memory} memory, {} {}", std::env::consts::OS, kernel.trim())
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What one process costs now.
pub(crate) struct Usage {
    pub(crate) resident_kib: u64,
    pub(crate) cpu_seconds: f64,
}

/// The usage of a process, from `/proc`.
pub(crate) fn usage(pid: u32) -> std::io::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident_kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in brackets and may hold spaces.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |index: usize| -> f64 {
        after_name.split_whitespace().nth(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default()
    };
    // utime and stime, in hundredths of a second on every Linux that matters.
    Ok(Usage { resident_kib, cpu_seconds: (ticks(11) + ticks(12)) / 100.0 })
}

/// The most memory that this process has had at once.
pub(crate) fn peak_mib() -> std::io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or_default();
    Ok(peak / 1024.0)
}
