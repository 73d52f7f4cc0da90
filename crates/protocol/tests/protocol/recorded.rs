//! The recordings. They are read with `serde_json`, so that our own parser is not its own judge.

use serde_json::Value as Case;

/// The cases of one recording, after a look at the versions that wrote it.
pub(crate) fn cases(recording: &str) -> Vec<Case> {
    let mut recording: Case = serde_json::from_str(recording).unwrap();
    assert_eq!(recording["written_by"]["celery"], "5.7.0");
    assert_eq!(recording["written_by"]["kombu"], "5.7.0");
    let Case::Array(cases) = recording["cases"].take() else { panic!("no cases") };
    assert!(!cases.is_empty());
    cases
}

/// The text of a field.
pub(crate) fn text<'a>(case: &'a Case, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("no {field} in {case}"))
}

/// The bytes of a field in hexadecimal.
pub(crate) fn hex(case: &Case, field: &str) -> Vec<u8> {
    let digits = text(case, field);
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of a field `text`, or of a field `hex`.
pub(crate) fn bytes(case: &Case) -> Vec<u8> {
    if case["text"].is_string() { text(case, "text").into() } else { hex(case, "hex") }
}

macro_rules! recording {
    ($name:literal) => {
        crate::recorded::cases(include_str!(concat!("../recorded/", $name, ".json")))
    };
}

pub(crate) use recording;
