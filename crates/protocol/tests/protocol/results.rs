//! Results as Celery's key-value backends store them.

use celeriac_protocol::{Compression, ResultRecord, Serializer, State, TaskException, Value, json};
use serde_json::Value as Case;

use crate::recorded::{bytes, recording, text};

fn serializer(case: &Case) -> Serializer {
    if case["name"] == "msgpack" { Serializer::MessagePack } else { Serializer::Json }
}

fn record(case: &Case) -> ResultRecord {
    ResultRecord::decode_as(&bytes(case), serializer(case)).unwrap_or_else(|error| panic!("{case}: {error}"))
}

fn recorded(name: &str) -> ResultRecord {
    record(recording!("results").iter().find(|case| case["name"] == name).unwrap())
}

#[test]
fn a_result_is_written_back_byte_for_byte() {
    for case in recording!("results") {
        let record = record(&case);
        assert_eq!(record.task_id.as_str(), text(&case, "task_id"));
        assert_eq!(record.state.as_str(), text(&case, "state"));
        if !text(&case, "name").starts_with("compressed") {
            assert_eq!(record.encode_as(serializer(&case), None).unwrap(), bytes(&case), "{case}");
        }
    }
}

#[test]
fn a_compressed_result_is_read_and_written() {
    let plain = recorded("compressed with zlib");
    assert_eq!(plain.result, Value::from("x".repeat(300)));
    for compression in [Compression::Zlib, Compression::Bzip2, Compression::Zstd] {
        let stored = plain.encode_as(Serializer::Json, Some(compression)).unwrap();
        assert!(stored.len() < 250, "{compression:?}");
        assert_eq!(ResultRecord::decode(&stored).unwrap(), plain);
    }
}

#[test]
fn failures_carry_exceptions_as_data() {
    let exception = recorded("failure").exception().unwrap();
    assert_eq!(exception.exc_module.as_deref(), Some("builtins"));
    for (name, shown) in [
        ("failure", "ValueError: ('no', 7)"),
        ("failure without arguments", "KeyError"),
        ("failure with a nested class", "Nested.Inner: deep"),
        ("failure with unicode", "ValueError: Zürich 'x'"),
        ("time limit", "TimeLimitExceeded: 30"),
        ("revoked", "TaskRevokedError: terminated"),
    ] {
        assert_eq!(recorded(name).exception().unwrap().to_string(), shown);
    }
    assert_eq!(recorded("success").exception(), None);
}

#[test]
fn an_exception_is_written_back() {
    for case in recording!("results") {
        let record = record(&case);
        if let Some(exception) = record.exception() {
            assert_eq!(exception.into_value(), record.result, "{case}");
        }
    }
    let custom = TaskException::new("Error", "no").into_value();
    assert_eq!(
        String::from_utf8(json::to_bytes(&custom)).unwrap(),
        r#"{"exc_type": "Error", "exc_message": ["no"], "exc_module": null}"#
    );
}

#[test]
fn children_group_and_extended_fields_are_kept() {
    let children = recorded("children").children;
    assert_eq!(children.as_list().unwrap().len(), 2);
    let extended = Value::Map(recorded("extended").other);
    assert_eq!(extended.get("worker").unwrap().as_str(), Some("worker@host"));
    assert_eq!(
        Value::Map(recorded("group and parent").other).get("group_id").unwrap().as_str(),
        Some("group-7")
    );
}

#[test]
fn states_know_what_they_are() {
    for (name, ready, exception) in [
        ("PENDING", false, false),
        ("RECEIVED", false, false),
        ("STARTED", false, false),
        ("SUCCESS", true, false),
        ("FAILURE", true, true),
        ("RETRY", false, true),
        ("REVOKED", true, true),
        ("REJECTED", false, false),
        ("IGNORED", false, false),
        ("PROGRESS", false, false),
    ] {
        let state = State::from(name);
        assert_eq!((state.as_str(), state.is_ready(), state.is_exception()), (name, ready, exception));
    }
}

#[test]
fn a_record_without_id_or_status_is_refused() {
    for (stored, reason) in [
        (r#"{"status": "SUCCESS"}"#, "not a result record: no task_id"),
        (r#"{"task_id": "x"}"#, "not a result record: no status"),
        ("[]", "invalid JSON at byte 0: expected an object"),
    ] {
        assert_eq!(ResultRecord::decode(stored.as_bytes()).unwrap_err().to_string(), reason);
    }
}
