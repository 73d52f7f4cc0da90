//! A lane: takes pieces of the suite, one after the other, and runs them on a server of its own.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::conformance::list::List;
use crate::conformance::pieces::Piece;
use crate::conformance::suite::{self, Suite};
use crate::run::{Failure, Result};
use crate::server::Server;

/// Starts our worker as the suite needs it. One child, as in the suite: some tests count processes.
const WORKER: &str = "-A {app} worker -P prefork -c 1 -l INFO -n {nodename} \
                      --without-mingle --without-gossip --without-heartbeat";

/// How long a test may take that does not say so itself, in seconds; as long as those say.
const TEST: &str = "--timeout=300";

/// How long a piece may take until it is interrupted, and after that until it is killed, in seconds.
const PIECE: [&str; 3] = ["--signal=INT", "--kill-after=60", "1200"];

/// How many lines of a run in which a listed test did not pass are shown, its last ones.
const SHOWN: usize = 100;

/// Runs pieces.
pub(crate) struct Lane<'a> {
    pub(crate) suite: &'a Suite,
    /// The program.
    pub(crate) worker: &'a Path,
    pub(crate) server: Server,
    /// The tests that should pass.
    pub(crate) list: &'a List,
    /// What is left to be run, by any lane.
    pub(crate) pieces: &'a Mutex<VecDeque<Piece>>,
}

/// What became of one test.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) test: String,
    pub(crate) outcome: String,
    pub(crate) note: String,
}

impl Record {
    /// Reads a line that `external_records.py` has written.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split('\t').collect();
        let (test, outcome) = (cells.first()?, cells.get(1)?);
        let note = cells.get(8).copied().unwrap_or_default();
        Some(Self { test: (*test).to_owned(), outcome: (*outcome).to_owned(), note: note.to_owned() })
    }
}

impl Lane<'_> {
    /// Runs pieces until none is left.
    pub(crate) fn work(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        while let Some(piece) = self.next() {
            records.extend(self.run(&piece)?);
        }
        Ok(records)
    }

    fn next(&self) -> Option<Piece> {
        self.pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
    }

    fn run(&self, piece: &Piece) -> Result<Vec<Record>> {
        let name = piece.name();
        let path = |kind: &str| self.suite.logs.join(format!("{name}.{kind}"));
        let failure = |error: std::io::Error| Failure(format!("{name}: {error}"));
        let output = File::create(path("pytest")).map_err(failure)?;
        let started = Instant::now();
        let mut command = Command::new("timeout");
        command.args(PIECE).arg(&self.suite.python).args(["-m", "pytest", TEST, "--tb=short", "-rfE"]);
        self.suite.equip(&mut command);
        self.set_up(&mut command)?;
        command.env("CONFORMANCE_RECORDS", path("tsv")).env("CONFORMANCE_WORKER_LOG", path("worker"));
        command.args(&piece.tests).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(failure)?).stderr(output);
        let status = command.status().map_err(failure)?;
        let records: Vec<Record> = std::fs::read_to_string(path("tsv"))
            .unwrap_or_default()
            .lines()
            .filter_map(Record::read)
            .collect();
        let passed = records.iter().filter(|record| record.outcome == "passed").count();
        let seconds = started.elapsed().as_secs_f64();
        let mut told = format!("{name}: {passed} of {} passed ({seconds:.0} s)", records.len());
        if records.is_empty() || records.iter().any(|record| self.list.is_broken_by(record)) {
            let said = suite::read(&path("pytest"))?;
            let lines: Vec<&str> = said.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN)..];
            told = format!("{told}: {status}; {}\n  {}", path("worker").display(), shown.join("\n  "));
        }
        println!("{told}");
        Ok(records)
    }

    /// The environment of the suite on this server, with our worker.
    fn set_up(&self, command: &mut Command) -> Result<()> {
        let bin = self.suite.python.parent().expect("an interpreter lies in a folder");
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&paths));
        let paths = std::env::join_paths(paths).map_err(|error| Failure(format!("PATH: {error}")))?;
        command.env("PATH", paths);
        command.env("CONFORMANCE_WORKER", format!("{} {WORKER}", self.worker.display()));
        command.env("CELERIAC_PYTHON", &self.suite.python);
        command.env("WORKER_LOGLEVEL", "INFO");
        for name in ["TEST_BROKER", "TEST_BACKEND"] {
            command.env(name, self.server.url());
        }
        // The tasks of the suite have a connection of their own.
        command.env("REDIS_HOST", "127.0.0.1").env("REDIS_PORT", self.server.port().to_string());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_its_note() {
        let record = Record::read("t/a.py::b[c d]\tfailed\t1\t0.50\t1\t0\t3\t0\tno reply").unwrap();
        let (test, outcome, note) = ("t/a.py::b[c d]".to_owned(), "failed".to_owned(), "no reply".to_owned());
        assert_eq!(record, Record { test, outcome, note });
        assert_eq!(Record::read(""), None);
    }
}
