//! Finding and reading documents, the progress bar and the table of the `urls` example.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use celeriac::signals::Postrun;
use indicatif::{ProgressBar, ProgressStyle};

/// Every file below `folder` that looks like a document, in the order of names. Hidden folders, such as `.git`, and what
/// was built are left out; folders inside that cannot be read count as empty.
pub(crate) fn documents(folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?;
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_left_out = name == "target" || name.as_encoded_bytes().starts_with(b".");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !is_left_out => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && is_document(&entry.path()) => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_document(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match name.trim_end_matches(".gz").rsplit_once('.') {
        Some((_, extension)) => {
            ["html", "htm", "md", "markdown", "txt", "rst", "debian", "changelog"].contains(&extension)
        }
        None => true,
    }
}

/// How much of a document is read into memory. A gzip of a few KiB may unpack to as many GiB.
const LARGEST: u64 = 64 << 20;

/// The text of a document, unpacked if it is a gzip; bytes that are not UTF-8 are replaced.
pub(crate) fn read(document: &Path) -> io::Result<String> {
    let file = File::open(document)?;
    match document.extension().is_some_and(|extension| extension == "gz") {
        true => text(flate2::read::MultiGzDecoder::new(file), LARGEST),
        false => text(file, LARGEST),
    }
}

/// All that there is to read, if it is no more than so many bytes.
fn text(from: impl Read, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let reason = format!("it is larger than {} MiB (unpacked, if it is a gzip)", most >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a run has done so far; tasks tell it from their threads.
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    response: Vec<Duration>,
    resolution: Vec<Duration>,
}

/// What a run has done.
pub(crate) struct Report {
    columns: Vec<(&'static str, String)>,
    name: &'static str,
    top_hosts: Vec<(String, u64)>,
    failures: Vec<(PathBuf, String)>,
}

impl Progress {
    pub(crate) fn new(documents: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} documents, {per_sec}, {eta} left")
            .expect("the template is one of ours");
        let bar = ProgressBar::new(documents as u64).with_style(style);
        Self { bar, began: Instant::now(), times: Mutex::default() }
    }

    /// A task has run.
    pub(crate) fn ended(&self, run: &Postrun) {
        if !run.state.is_ready() {
            return;
        }
        self.bar.inc(1);
        let mut times = self.times.lock().expect("nobody panics with this lock");
        times.response.extend(run.time_to_response());
        times.resolution.extend(run.time_to_resolution());
    }

    pub(crate) fn report(
        &self,
        name: &'static str,
        connections: usize,
        failures: Vec<(PathBuf, String)>,
        links: &rusqlite::Connection,
    ) -> rusqlite::Result<Report> {
        self.bar.finish_and_clear();
        let elapsed = self.began.elapsed();
        let times = std::mem::take(&mut *self.times.lock().expect("nobody panics with this lock"));
        let count = |sql| links.query_row(sql, [], |row| row.get::<_, i64>(0));
        let top_hosts = links
            .prepare(
                "SELECT host, count(*) AS links FROM urls WHERE host <> '' GROUP BY host \
                 ORDER BY links DESC, host LIMIT 10",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
            .collect::<rusqlite::Result<_>>()?;
        let documents = self.bar.position();
        let columns = vec![
            ("documents", documents.to_string()),
            ("links", count("SELECT count(*) FROM urls")?.to_string()),
            ("distinct hosts", count("SELECT count(DISTINCT host) FROM urls WHERE host <> ''")?.to_string()),
            ("failed documents", failures.len().to_string()),
            ("connections opened", connections.to_string()),
            ("seconds", format!("{:.2}", elapsed.as_secs_f64())),
            ("tasks per second", format!("{:.0}", documents as f64 / elapsed.as_secs_f64())),
            ("time to response, median and 99%", spread(times.response)),
            ("time to resolution, median and 99%", spread(times.resolution)),
        ];
        Ok(Report { columns, name, top_hosts, failures })
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |quantile: f64| times.get((times.len().saturating_sub(1) as f64 * quantile) as usize).copied();
    let [median, late] = [0.5, 0.99].map(|quantile| at(quantile).unwrap_or_default().as_secs_f64() * 1000.0);
    format!("{median:.1} / {late:.1} ms")
}

/// Prints the runs side by side, then the top hosts and the failed documents of the last.
pub(crate) fn print(reports: &[Report]) {
    let Some(last) = reports.last() else { return };
    let line = |title: &str, cells: Vec<&str>| {
        println!("{title:<36}{}", cells.iter().map(|cell| format!("{cell:>24}")).collect::<String>());
    };
    line("\nconnection", reports.iter().map(|report| report.name).collect());
    for (row, (title, _)) in last.columns.iter().enumerate() {
        line(title, reports.iter().map(|report| report.columns[row].1.as_str()).collect());
    }
    println!("\ntop hosts");
    for (host, links) in &last.top_hosts {
        println!("{links:>8}  {host}");
    }
    for (document, reason) in &last.failures {
        println!("failed: {}: {reason}", document.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_end_is_not_read_to_its_end() {
        let error = text(io::repeat(b'x'), 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 1 MiB (unpacked, if it is a gzip)");
        assert_eq!(text(&b"just"[..], 4).unwrap(), "just");
    }
}
