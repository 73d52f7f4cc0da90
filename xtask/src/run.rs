//! Running commands and counting the tests they report.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A command that did not do what it should.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies one folder below the workspace").to_owned()
}

/// Runs cargo in the workspace; its output goes straight through.
pub(crate) fn cargo<A: AsRef<OsStr>, B: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    more: impl IntoIterator<Item = B>,
) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).args(more).current_dir(root());
    run(&mut command)
}

/// Runs a command, its output going straight through.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = describe(command);
    eprintln!("\n$ {shown}");
    let started = Instant::now();
    let status = command.status().map_err(|error| Failure(format!("{shown}: {error}")))?;
    eprintln!("  ({:.0} s)", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(Failure(format!("{shown}: {status}"))) }
}

/// How many tests ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// What one line of a test runner adds: the closing lines of Rust's own runner.
    fn of_line(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let mut tally = Self::default();
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse() else { continue };
            match word {
                "passed" => tally.passed = number,
                "failed" => tally.failed = number,
                "ignored" => tally.skipped = number,
                _ => {}
            }
        }
        Some(tally)
    }
}

/// Runs a command that runs tests: passes its output on, and counts the tests.
///
/// The command having failed is in the tally, or an error when no failed test explains it.
pub(crate) fn tests(command: &mut Command) -> Result<Tally> {
    let shown = describe(command);
    eprintln!("\n$ {shown}");
    let started = Instant::now();
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| Failure(format!("{shown}: {error}")))?;
    let output = child.stdout.take().expect("stdout was piped above");
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| Failure(format!("{shown}: {error}")))?;
        // A reader that went away must not stop the tests.
        let _ = writeln!(std::io::stdout(), "{line}");
        tally.add(Tally::of_line(line.trim()).unwrap_or_default());
    }
    let status = child.wait().map_err(|error| Failure(format!("{shown}: {error}")))?;
    eprintln!("  ({:.0} s)", started.elapsed().as_secs_f64());
    if !status.success() && tally.failed == 0 {
        return Err(Failure(format!("{shown}: {status}")));
    }
    Ok(tally)
}

/// Prints the count of the whole run, as the last line, and fails if a test did.
pub(crate) fn conclude(tally: Tally) -> Result<()> {
    println!("\ntotal: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    match tally {
        Tally { passed: 0, .. } => Err(Failure("no test ran".into())),
        Tally { failed: 0, .. } => Ok(()),
        Tally { failed, .. } => Err(Failure(format!("{failed} tests failed"))),
    }
}

fn describe(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.get_args().fold(program, |text, argument| text + " " + &argument.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_binary_is_counted() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(Tally::of_line(line), Some(Tally { passed: 12, failed: 1, skipped: 2 }));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Tally::of_line("test request::late_acks ... ok"), None);
    }
}
