//! A strict reader of the text format of OpenMetrics, for tests: whatever a scraper might refuse, it refuses.
//!
//! Source: <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>.

use std::collections::{BTreeMap, BTreeSet};

/// A family of metrics with its samples.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) name: String,
    kind: String,
    has_unit: bool,
    has_help: bool,
    pub(crate) samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// Whether it has these labels, among others.
    pub(crate) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|is| is == value))
    }
}

/// The families of a text.
///
/// # Panics
/// If the text is not in the format; the message says where.
pub(crate) fn parse(text: &str) -> Vec<Parsed> {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF and a line feed");
    assert!(body.is_empty() || body.ends_with('\n'), "every line ends with a line feed");
    let mut families: Vec<Parsed> = Vec::new();
    for line in body.lines() {
        match line.strip_prefix("# ") {
            Some(about) => describe(&mut families, about),
            None => {
                let sample = sample(line);
                let family = families.last_mut().unwrap_or_else(|| panic!("no family: {line}"));
                family.accept(sample, line);
            }
        }
    }
    let names: BTreeSet<&str> = families.iter().map(|family| &*family.name).collect();
    assert_eq!(names.len(), families.len(), "every family comes once");
    families.iter().for_each(Parsed::check);
    families
}

/// All samples of a text.
pub(crate) fn samples(text: &str) -> Vec<Sample> {
    parse(text).into_iter().flat_map(|family| family.samples).collect()
}

fn describe(families: &mut Vec<Parsed>, line: &str) {
    let mut words = line.splitn(3, ' ');
    let (Some(what), Some(name), Some(said)) = (words.next(), words.next(), words.next()) else {
        panic!("not a description: {line}");
    };
    assert!(is_name(name), "not a name: {line}");
    if families.last().is_none_or(|family| family.name != name) {
        families.push(Parsed { name: name.to_owned(), ..Parsed::default() });
    }
    let family = families.last_mut().expect("it is there now");
    assert!(family.samples.is_empty(), "described after its samples: {line}");
    match what {
        "TYPE" => {
            assert!(family.kind.is_empty(), "a second type: {line}");
            assert!(matches!(said, "counter" | "gauge" | "histogram" | "info"), "no such type: {line}");
            family.kind = said.to_owned();
        }
        "UNIT" => {
            assert!(!std::mem::replace(&mut family.has_unit, true), "a second unit: {line}");
            assert!(name.ends_with(&format!("_{said}")), "the name does not end with the unit: {line}");
        }
        "HELP" => {
            assert!(!std::mem::replace(&mut family.has_help, true), "a second help: {line}");
            assert_eq!(unescaped(&mut said.chars().peekable(), None), (said.len(), true), "{line}");
        }
        _ => panic!("not a description: {line}"),
    }
}

impl Parsed {
    /// The names that samples of it may have.
    pub(crate) fn names(&self) -> Vec<String> {
        let suffixes: &[&str] = match &*self.kind {
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name)).collect()
    }

    fn accept(&mut self, sample: Sample, line: &str) {
        let suffix =
            sample.name.strip_prefix(&*self.name).unwrap_or_else(|| panic!("of another family: {line}"));
        let fits = match &*self.kind {
            "counter" => suffix == "_total" && sample.value >= 0.0,
            "gauge" => suffix.is_empty(),
            "info" => suffix == "_info" && sample.value == 1.0,
            "histogram" => {
                matches!(suffix, "_bucket" | "_count" | "_sum")
                    && (suffix == "_bucket") == sample.labels.contains_key("le")
            }
            _ => false,
        };
        assert!(fits, "not a sample of a {}: {line}", self.kind);
        let same = |known: &Sample| (&known.name, &known.labels) == (&sample.name, &sample.labels);
        assert!(!self.samples.iter().any(same), "a second time: {line}");
        self.samples.push(sample);
    }

    fn check(&self) {
        assert!(!self.kind.is_empty(), "{} has no type", self.name);
        if self.kind != "histogram" {
            return;
        }
        let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for Sample { name, labels, value } in &self.samples {
            let mut labels = labels.clone();
            match labels.remove("le") {
                Some(le) => buckets.entry(labels).or_default().push((bound(&le), *value)),
                None if name.ends_with("_count") => drop(counts.insert(labels, *value)),
                None => {}
            }
        }
        assert_eq!(buckets.len(), counts.len(), "{}: buckets and counts", self.name);
        for (labels, buckets) in buckets {
            let is_rising = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(buckets.windows(2).all(is_rising), "{} {labels:?}: {buckets:?}", self.name);
            let all = (f64::INFINITY, counts[&labels]);
            assert_eq!(buckets.last(), Some(&all), "{} {labels:?}", self.name);
        }
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "not a name: {line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("not a label: {line}"));
            assert!(is_name(label) && !label.contains(':'), "not a label: {line}");
            let mut read = String::new();
            let (length, is_closed) = unescaped(&mut value.chars().peekable(), Some(&mut read));
            assert!(is_closed, "an open label: {line}");
            assert_eq!(labels.insert(label.to_owned(), read), None, "twice the same label: {line}");
            rest = &value[length + 1..];
            match rest.split_at_checked(1) {
                Some((",", after)) => rest = after,
                Some(("}", after)) => break rest = after,
                _ => panic!("labels do not end: {line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    Sample { name: name.to_owned(), labels, value }
}

fn bound(le: &str) -> f64 {
    assert!(le == "+Inf" || le.contains(['.', 'e']), "not in canonical form: {le}");
    le.trim_start_matches('+').parse().unwrap_or_else(|_| panic!("not a bound: {le}"))
}

/// Reads up to a quote, or to the end where there is no label to close. Says how many bytes that were, and whether it closed.
fn unescaped(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    mut into: Option<&mut String>,
) -> (usize, bool) {
    let mut length = 0;
    while let Some(character) = characters.next() {
        let read = match character {
            '\\' => {
                length += 1;
                match characters.next() {
                    Some('n') => '\n',
                    Some(escaped @ ('\\' | '"')) => escaped,
                    other => panic!("not an escape: {other:?}"),
                }
            }
            '"' => return (length, into.is_some()),
            other => other,
        };
        length += if read == '\n' { 1 } else { read.len_utf8() };
        if let Some(into) = into.as_deref_mut() {
            into.push(read);
        }
    }
    (length, into.is_none())
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || matches!(other, '_' | ':'))
}
