//! JSON against CPython's `json` and kombu's wrappers.

use celeriac_protocol::{DecodeError, Value, json};

use crate::recorded::{hex, recording, text};

fn again(bytes: &[u8]) -> Result<String, DecodeError> {
    json::parse(bytes).map(|value| String::from_utf8(json::to_bytes(&value)).unwrap())
}

#[test]
fn what_cpython_reads_is_read_and_written_alike_and_what_it_refuses_is_refused() {
    for case in recording!("json_texts") {
        let input = text(&case, "text");
        let ours = again(input.as_bytes());
        let theirs = case["again"].as_str().or(case["kept"].as_str());
        assert_eq!(ours.as_deref().ok(), theirs, "of {input:?}: {ours:?}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_as_by_kombu() {
    for case in recording!("json_bytes") {
        assert_eq!(again(&hex(&case, "hex")).ok().as_deref(), case["again"].as_str(), "{case}");
    }
}

#[test]
fn values_are_written_back_as_kombu_wrote_them() {
    for case in recording!("json_values").iter().filter(|case| case["text"].is_string()) {
        assert_eq!(again(text(case, "text").as_bytes()).as_deref(), Ok(text(case, "text")), "{case}");
    }
}

#[test]
fn floats_have_pythons_digits() {
    for case in recording!("floats") {
        let bits = u64::from_str_radix(text(&case, "bits"), 16).unwrap();
        let written = json::to_bytes(&Value::Float(f64::from_bits(bits)));
        assert_eq!(String::from_utf8(written).unwrap(), text(&case, "text"), "{case}");
        let Value::Float(read) = json::parse(text(&case, "text").as_bytes()).unwrap() else {
            panic!("{case}")
        };
        assert_eq!(read.to_bits(), bits, "{case}");
    }
}

#[test]
fn wrappers_become_typed_values() {
    let parse = |text: &str| json::parse(text.as_bytes()).unwrap();
    assert_eq!(parse(r#"{"__type__": "bytes", "__value__": "x"}"#), Value::Bytes(b"x".as_slice().into()));
    assert_eq!(parse(r#"{"__type__": "base64", "__value__": "/wA="}"#), Value::Bytes([0xff, 0].into()));
    assert_eq!(parse(r#"{"__type__": "date", "__value__": "2026-11-23"}"#), Value::Date("2026-11-23".into()));
    assert_eq!(parse(r#"{"__value__": "1.50", "__type__": "decimal"}"#), Value::Decimal("1.50".into()));
    let uuid = r#"{"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000007"}}"#;
    assert_eq!(parse(uuid), Value::Uuid(uuid::Uuid::from_u128(7)));
}

#[test]
fn nesting_ends_where_the_limit_is() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(json::parse(nested(json::MAX_DEPTH as usize).as_bytes()).is_ok());
    let error = json::parse(nested(json::MAX_DEPTH as usize + 1).as_bytes()).unwrap_err();
    assert_eq!(error, DecodeError::Json { at: 513, reason: "nested too deep" });
}

#[test]
fn an_error_says_where() {
    let error = json::parse(br#"{"a": [1, }"#).unwrap_err();
    assert_eq!(error.to_string(), "invalid JSON at byte 10: expected a value");
}
