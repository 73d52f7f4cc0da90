//! What tasks really did, as they wrote it down themselves, beside the store and independent of it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file that every task of every process appends to, one line at once.
pub struct Diary(File);

impl Diary {
    /// Opens (or makes) the diary.
    ///
    /// # Errors
    /// As of opening a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// Notes that the task with this argument starts in the worker of this number.
    ///
    /// One `write` of a short line to a file opened for appending is not mixed with others', and it is in the
    /// kernel's hands when this returns: a SIGKILL right after it loses nothing.
    ///
    /// # Errors
    /// As of writing to a file.
    pub fn started(&self, worker: u32, argument: u32) -> io::Result<()> {
        (&self.0).write_all(format!("{worker} {argument}\n").as_bytes())
    }
}

/// Which workers started which task, in the order of the diary.
///
/// # Errors
/// As of reading a file; a line that is not a diary line is an error too.
pub fn starts(path: &Path) -> io::Result<HashMap<u32, Vec<u32>>> {
    let mut starts: HashMap<u32, Vec<u32>> = HashMap::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let parsed = line.split_once(' ').and_then(|(worker, argument)| {
            Some((worker.parse::<u32>().ok()?, argument.parse::<u32>().ok()?))
        });
        let (worker, argument) =
            parsed.ok_or_else(|| io::Error::other(format!("not a diary line: {line:?}")))?;
        starts.entry(argument).or_default().push(worker);
    }
    Ok(starts)
}
