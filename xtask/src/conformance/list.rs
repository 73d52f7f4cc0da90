//! The list of tests that pass with our worker, and what a run says to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::conformance::lane::Record;
use crate::conformance::suite;
use crate::run::Result;
use crate::runner::Tally;

/// The tests that pass, one on a line. It may only grow.
const LIST: &str = "passing.txt";

/// The ids of tests that pass.
pub(crate) struct List(BTreeSet<String>);

/// What a run says to the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many tests of the list passed.
    passed: u64,
    /// Tests of the list that did not, and why.
    broken: Vec<(String, String)>,
    /// Tests that passed and are not on the list.
    found: Vec<String>,
}

impl List {
    /// Reads the list of the repository.
    pub(crate) fn load() -> Result<Self> {
        Ok(Self::read(&suite::read(&suite::ours().join(LIST))?))
    }

    fn read(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect(),
        )
    }

    /// All tests that the list names, also those that the suite no longer has.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }

    /// Whether this is about a test that should have passed.
    pub(crate) fn is_broken_by(&self, record: &Record) -> bool {
        self.0.contains(&record.test) && record.outcome != "passed"
    }

    /// Compares the list with what became of the tests that were to run; of several records of a test the last counts.
    pub(crate) fn judge<'a>(
        &self,
        tests: impl IntoIterator<Item = &'a String>,
        records: &[Record],
    ) -> Verdict {
        let records: BTreeMap<&str, &Record> =
            records.iter().map(|record| (record.test.as_str(), record)).collect();
        let mut verdict = Verdict::default();
        for test in BTreeSet::from_iter(tests) {
            let record = records.get(test.as_str());
            let has_passed = record.is_some_and(|record| record.outcome == "passed");
            match (self.0.contains(test), has_passed) {
                (true, true) => verdict.passed += 1,
                (true, false) => verdict.broken.push((test.clone(), why(record.copied()))),
                (false, true) => verdict.found.push(test.clone()),
                (false, false) => {}
            }
        }
        verdict
    }
}

fn why(record: Option<&Record>) -> String {
    record.map_or_else(|| "did not run".to_owned(), |record| format!("{}: {}", record.outcome, record.note))
}

impl Verdict {
    /// For the count of the whole run.
    pub(crate) fn into_tally(self) -> Tally {
        for test in &self.found {
            println!("passes and is not in tests/conformance/{LIST}: {test}");
        }
        let listed = self.passed + self.broken.len() as u64;
        let remark = format!(
            "Celery's integration suite on our worker: {} of {listed} listed tests passed, and {} others",
            self.passed,
            self.found.len()
        );
        let failures = self.broken.iter().map(|(test, why)| format!("---- {test} ----\n{why}")).collect();
        let failed = self.broken.len() as u64;
        Tally { passed: self.passed, failed, failures, remarks: vec![remark], ..Tally::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(list: &str, outcomes: &[(&str, &str)]) -> Verdict {
        let records: Vec<Record> = outcomes
            .iter()
            .map(|(test, outcome)| Record {
                test: (*test).to_owned(),
                outcome: (*outcome).to_owned(),
                note: "because".to_owned(),
            })
            .collect();
        let list = List::read(list);
        let tests: Vec<String> = records.iter().map(|record| record.test.clone()).collect();
        list.judge(tests.iter().chain(list.tests()), &records)
    }

    #[test]
    fn a_test_of_the_list_must_pass() {
        let verdict =
            judge("# comment\na::one\n\na::two\na::three\n", &[("a::one", "passed"), ("a::two", "skipped")]);
        assert_eq!(verdict.passed, 1);
        let broken = [("a::three", "did not run"), ("a::two", "skipped: because")];
        assert_eq!(verdict.broken, broken.map(|(test, why)| (test.to_owned(), why.to_owned())));
        assert_eq!(verdict.into_tally().failed, 2);
    }

    #[test]
    fn a_second_try_counts() {
        let verdict = judge("a::one", &[("a::one", "failed"), ("a::one", "passed")]);
        assert_eq!((verdict.passed, verdict.broken.len()), (1, 0));
    }

    #[test]
    fn what_passes_and_is_not_on_the_list_is_told_and_fails_nothing() {
        let verdict = judge("a::one", &[("a::one", "passed"), ("a::new", "passed"), ("a::bad", "failed")]);
        assert_eq!(verdict.found, ["a::new"]);
        let tally = verdict.into_tally();
        assert_eq!((tally.passed, tally.failed), (1, 0));
        assert!(
            tally.remarks[0].ends_with("1 of 1 listed tests passed, and 1 others"),
            "{:?}",
            tally.remarks
        );
    }
}
