//! Running tests: their output goes straight through, and how many ran and what failed is told again at the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::mem;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::run::{Failure, Result, describe};

/// How many lines of a failure are told again: its first ones, and as many of its last.
const TOLD: usize = 15;

/// How long the output may stay open once the tests have ended.
const CLOSES: Duration = Duration::from_secs(30);

/// How many tests ran, and what the failed ones said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) failures: Vec<String>,
    /// What is said at the end in any case.
    pub(crate) remarks: Vec<String>,
}

impl Tally {
    pub(crate) fn passed(passed: u64) -> Self {
        Self { passed, ..Self::default() }
    }

    pub(crate) fn skipped(what: &str) -> Self {
        println!("SKIPPED: {what}");
        Self { skipped: 1, ..Self::default() }
    }

    /// The same, and something else that failed.
    pub(crate) fn and_failed(mut self, failure: &Failure) -> Self {
        self.failed += 1;
        self.failures.push(failure.to_string());
        self
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.remarks.extend(other.remarks);
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

/// Finds in the output of tests what a failed one said.
#[derive(Debug, Default)]
struct Failures {
    /// The lines of the one that is being told.
    open: Vec<String>,
    done: Vec<String>,
}

impl Failures {
    fn read(&mut self, line: &str) {
        let captured = line.starts_with("---- ") && line.ends_with(" stdout ----");
        // The message of a panic follows its first line; of a test whose output is not captured it is all there is.
        let panicked = self.open.is_empty() && line.starts_with("thread '") && line.contains(" panicked at ");
        if captured || line == "failures:" || line.starts_with("test result: ") || line.starts_with("test ") {
            self.close();
        }
        if captured || panicked || !self.open.is_empty() {
            self.open.push(line.to_owned());
        }
        if self.open.len() >= TOLD && !self.open[0].starts_with("---- ") {
            self.close();
        }
    }

    fn close(&mut self) {
        let mut lines = mem::take(&mut self.open);
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        if lines.len() > 2 * TOLD {
            let last = lines.len() - TOLD;
            lines.splice(TOLD..last, ["[...]".to_owned()]);
        }
        if !lines.is_empty() {
            self.done.push(lines.join("\n"));
        }
    }

    fn into_done(mut self) -> Vec<String> {
        self.close();
        self.done
    }
}

/// Runs a command that runs tests: passes its output on, and counts the tests.
///
/// The command having failed is in the tally, or an error when no failed test explains it.
pub(crate) fn run(command: &mut Command) -> Result<Tally> {
    let shown = describe(command);
    eprintln!("\n$ {shown}");
    let failure = |error: std::io::Error| Failure(format!("{shown}: {error}"));
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failure)?;
    let stdout = child.stdout.take().expect("stdout was piped above");
    let stderr = child.stderr.take().expect("stderr was piped above");
    let (counted, count) = mpsc::channel();
    std::thread::spawn(move || {
        let mut tally = Tally::default();
        let told = pass_on(stdout, std::io::stdout(), |line| {
            tally.add(Tally::of_line(line).unwrap_or_default());
        });
        let _ = counted.send((tally, told));
    });
    let (failed, errors) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = failed.send(pass_on(stderr, std::io::stderr(), |_| {}));
    });
    let status = child.wait().map_err(failure)?;
    let open = |_| Failure(format!("{shown}: {status}, and something that it started holds its output open"));
    let (mut tally, mut told) = count.recv_timeout(CLOSES).map_err(open)?;
    told.extend(errors.recv_timeout(CLOSES).map_err(open)?);
    eprintln!("  ({:.0} s)", started.elapsed().as_secs_f64());
    if status.success() {
        // Tests of panics panic.
        return Ok(tally);
    }
    if tally.failed == 0 {
        return Err(Failure(format!("{shown}: {status}\n{}", told.join("\n"))));
    }
    tally.failures = told;
    Ok(tally)
}

/// Passes every line on and shows it to somebody; returns what failed tests said in them.
fn pass_on(from: impl Read, mut to: impl Write, mut see: impl FnMut(&str)) -> Vec<String> {
    let mut failures = Failures::default();
    for line in BufReader::new(from).split(b'\n').map_while(std::result::Result::ok) {
        let line = String::from_utf8_lossy(&line);
        // A reader that went away must not stop the tests.
        let _ = writeln!(to, "{line}");
        see(line.trim());
        failures.read(&line);
    }
    failures.into_done()
}

/// Says what failed, prints the count of the whole run as the last line, and fails if a test did.
pub(crate) fn conclude(tally: &Tally) -> Result<()> {
    for failure in &tally.failures {
        println!("\n{failure}");
    }
    for remark in &tally.remarks {
        println!("\n{remark}");
    }
    println!("\ntotal: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    match tally {
        Tally { passed: 0, .. } => Err(Failure("no test ran".into())),
        Tally { failed: 0, .. } => Ok(()),
        Tally { failed, .. } => Err(Failure(format!("{failed} tests failed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_binary_is_counted() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(
            Tally::of_line(line),
            Some(Tally { passed: 12, failed: 1, skipped: 2, ..Tally::default() })
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Tally::of_line("test request::late_acks ... ok"), None);
    }

    fn failures(output: &str) -> Vec<String> {
        pass_on(output.as_bytes(), std::io::sink(), |_| {})
    }

    #[test]
    fn what_captured_tests_said_is_told_again() {
        let output = "test one ... ok\ntest two ... FAILED\n\nfailures:\n\n---- two stdout ----\nsaid\n\n\
                      thread 'two' (7) panicked at lib.rs:1:1:\nno\n\n\nfailures:\n    two\n\ntest result: FAILED. 1";
        assert_eq!(
            failures(output),
            ["---- two stdout ----\nsaid\n\nthread 'two' (7) panicked at lib.rs:1:1:\nno"]
        );
    }

    #[test]
    fn a_panic_that_nobody_captured_is_told_again() {
        let output = "test one ... seed 3\nthread 'one' (7) panicked at lib.rs:1:1:\nno\ntest two ... ok\n";
        assert_eq!(failures(output), ["thread 'one' (7) panicked at lib.rs:1:1:\nno"]);
    }

    #[test]
    fn of_a_long_failure_the_first_and_the_last_lines_are_told() {
        let lines: String = (0..100).map(|line| format!("{line}\n")).collect();
        let told = failures(&format!("---- two stdout ----\n{lines}"));
        assert!(told[0].starts_with("---- two stdout ----\n0\n"), "{}", told[0]);
        assert!(told[0].contains("\n13\n[...]\n85\n") && told[0].ends_with("\n99"), "{}", told[0]);
    }

    #[test]
    fn bytes_that_are_no_text_stop_nothing() {
        let mut out = Vec::new();
        pass_on(&b"\xff\nmore\n"[..], &mut out, |_| {});
        assert_eq!(String::from_utf8(out).unwrap(), "\u{fffd}\nmore\n");
    }
}
