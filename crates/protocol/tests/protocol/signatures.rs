//! Signatures as Celery serializes them.

use celeriac_protocol::{Signature, Value, json};

use crate::recorded::{recording, text};

fn signature(json: &str) -> Signature {
    Signature::from_value(json::parse(json.as_bytes()).unwrap()).unwrap()
}

fn recorded(name: &str) -> Signature {
    signature(text(recording!("signatures").iter().find(|case| case["name"] == name).unwrap(), "text"))
}

#[test]
fn a_signature_is_written_back_byte_for_byte() {
    for case in recording!("signatures") {
        let written = json::to_bytes(&signature(text(&case, "text")).into_value());
        assert_eq!(String::from_utf8(written).unwrap(), text(&case, "text"), "{case}");
    }
}

#[test]
fn links_and_parts_of_compositions_are_signatures() {
    let linked = recorded("linked");
    assert_eq!(linked.links().unwrap()[0].args, [Value::Int(16)]);
    assert_eq!(linked.link_errors().unwrap()[0].task.as_str(), "proj.total");
    assert_eq!(recorded("chain").tasks().unwrap().len(), 3);
    assert_eq!(recorded("group").tasks().unwrap().len(), 3);
    let chord = recorded("chord");
    assert_eq!(chord.tasks().unwrap().len(), 2);
    assert_eq!(chord.chord_body().unwrap().unwrap().task.as_str(), "proj.total");
}

#[test]
fn a_single_link_needs_no_list() {
    let linked = signature(r#"{"task": "a", "options": {"link": {"task": "b"}}}"#);
    assert_eq!(linked.links().unwrap().len(), 1);
}

#[test]
fn what_is_no_signature_is_refused() {
    for (json, reason) in [
        ("[]", "not a signature: a list"),
        ("{}", "not a signature: no task"),
        (r#"{"task": "a", "args": 5}"#, "not a signature: a int as args"),
    ] {
        let error = Signature::from_value(json::parse(json.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), reason);
    }
}
