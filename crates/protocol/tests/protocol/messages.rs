//! Messages as Celery publishes them through a virtual transport.

use celeriac_protocol::{
    Arguments, Compression, DecodeError, Envelope, Headers, Message, Serializer, TimeLimits, Value, body,
    json,
};
use serde_json::Value as Case;
use std::time::Duration;

use crate::recorded::{recording, text};

fn envelope(case: &Case) -> Envelope {
    Envelope::decode(text(case, "envelope").as_bytes())
        .unwrap_or_else(|error| panic!("{}: {error}", case["name"]))
}

fn recorded(name: &str) -> Envelope {
    envelope(recording!("messages").iter().find(|case| case["name"] == name).unwrap())
}

/// A time without an offset is written back with one, and a limit of `12.5` or `30` as it was.
fn with_offset(envelope: &str) -> String {
    envelope.replace(r#""eta": "2026-11-23T14:00:00.123456""#, r#""eta": "2026-11-23T14:00:00.123456+00:00""#)
}

/// Celery keeps the offset that the caller gave; we know the moment only.
fn in_utc(envelope: &str) -> String {
    envelope.replace("2026-11-23T14:00:00+02:00", "2026-11-23T12:00:00+00:00")
}

#[test]
fn an_envelope_is_written_back_byte_for_byte() {
    for case in recording!("messages") {
        let encoded = String::from_utf8(envelope(&case).encode()).unwrap();
        assert_eq!(encoded, in_utc(&with_offset(text(&case, "envelope"))), "{}", case["name"]);
    }
}

#[test]
fn a_body_decodes_to_what_python_sees() {
    for case in recording!("messages") {
        let message = envelope(&case).message;
        let theirs = json::parse(text(&case, "decoded").as_bytes()).unwrap();
        let ours = body::decode(&message).unwrap();
        let theirs = Arguments::from_value(theirs).unwrap();
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{}", case["name"]);
    }
}

#[test]
fn a_plain_body_is_encoded_byte_for_byte() {
    let cases = recording!("messages");
    let mut compared = 0;
    for case in cases.iter().filter(|case| !text(case, "name").starts_with("protocol 1")) {
        let message = envelope(case).message;
        if message.headers.compression.is_some() {
            continue;
        }
        let serializer = Serializer::from_name(&message.content_type).unwrap();
        let encoded = body::encode(&body::decode(&message).unwrap(), serializer, None).unwrap();
        assert_eq!(encoded, message.body, "{}", case["name"]);
        compared += 1;
    }
    assert!(compared > 35, "{compared}");
}

#[test]
fn a_head_in_our_stores_keeps_everything() {
    for case in recording!("messages") {
        let message = envelope(&case).message;
        assert_eq!(Message::decode(&message.encode_head(), message.body.clone()).unwrap(), message);
        assert_eq!(Headers::from_json(&message.headers.to_json()).unwrap(), message.headers);
    }
}

#[test]
fn headers_have_their_types() {
    let headers = recorded("time limits").message.headers;
    let limits =
        TimeLimits { hard: Some(Duration::from_secs(30)), soft: Some(Duration::from_millis(12_500)) };
    assert_eq!(headers.timelimit, limits);
    assert_eq!(headers.task.unwrap().as_str(), "proj.add");
    assert_eq!(headers.argsrepr.as_deref(), Some("(2, 2)"));
    assert_eq!(
        recorded("countdown").message.headers.eta,
        Some("2026-11-23T12:31:30.250000+00:00".parse().unwrap())
    );
    assert_eq!(recorded("priority").message.properties.priority, Some(7));
    assert_eq!(recorded("group (3)").message.headers.group_index, Some(2));
    assert_eq!(recorded("retries").message.headers.retries, 3);
}

#[test]
fn unknown_headers_and_stamps_are_kept() {
    let other = recorded("headers").message.headers.other;
    assert!(other.contains(&("tenant".into(), Value::from("a"))));
    let stamps = Value::Map(recorded("stamps").message.headers.other);
    assert_eq!(stamps.get("stamps").unwrap().get("tenant").unwrap().as_str(), Some("a"));
}

#[test]
fn a_header_of_an_unexpected_type_is_kept_as_it_came() {
    let json = br#"{"task": "t", "id": 7, "eta": "soon", "retries": -1, "timelimit": [1], "shadow": []}"#;
    let headers = Headers::from_json(json).unwrap();
    assert_eq!(headers.other.len(), 5);
    let written = String::from_utf8(headers.to_json()).unwrap();
    for kept in
        [r#""id": 7"#, r#""eta": "soon""#, r#""retries": -1"#, r#""timelimit": [1]"#, r#""shadow": []"#]
    {
        assert_eq!(written.matches(kept).count(), 1, "{kept} in {written}");
    }
    assert!(!written.contains(r#""id": null"#));
}

#[test]
fn a_chain_and_its_callbacks_arrive_as_signatures() {
    let embed = body::decode(&recorded("chain").message).unwrap().embed;
    assert_eq!(embed.chain.len(), 2);
    assert_eq!(embed.chain[0].args, [Value::Int(3)]);
    let embed = body::decode(&recorded("callbacks and errback").message).unwrap().embed;
    assert_eq!((embed.callbacks.len(), embed.errbacks.len()), (2, 1));
    assert!(embed.callbacks[1].immutable);
    let chord = body::decode(&recorded("chord (1)").message).unwrap().embed.chord.unwrap();
    assert_eq!(chord.task.as_str(), "proj.total");
}

#[test]
fn protocol_1_becomes_protocol_2() {
    let message = recorded("protocol 1, everything").message;
    assert!(!message.is_protocol_2());
    let message = message.into_protocol_2().unwrap();
    assert!(message.is_protocol_2());
    let headers = &message.headers;
    assert_eq!(headers.task.as_ref().unwrap().as_str(), "proj.add");
    assert_eq!(headers.retries, 2);
    assert_eq!(headers.timelimit.hard, Some(Duration::from_secs(30)));
    assert_eq!(headers.argsrepr.as_deref(), Some("(2,)"));
    assert!(headers.group.is_some() && headers.eta.is_some() && headers.expires.is_some());
    assert!(headers.other.contains(&("tenant".into(), Value::from("a"))));
    let arguments = body::decode(&message).unwrap();
    assert_eq!(arguments.kwargs, [("y".into(), Value::Int(3))]);
    assert_eq!((arguments.embed.callbacks.len(), arguments.embed.errbacks.len()), (1, 1));
    assert_eq!(message.clone().into_protocol_2().unwrap(), message);
}

#[test]
fn every_compression_round_trips() {
    let arguments = Arguments::positional(vec![Value::from("x".repeat(500))]);
    for compression in [Compression::Zlib, Compression::Bzip2, Compression::Zstd] {
        let mut message = recorded("plain").message;
        message.body = body::encode(&arguments, Serializer::Json, Some(compression)).unwrap();
        message.headers.compression = Some(compression.content_type().into());
        assert!(message.body.len() < 200);
        assert_eq!(body::decode(&message).unwrap(), arguments);
    }
}

#[test]
fn a_body_that_is_no_call_says_why() {
    let mut message = recorded("plain").message;
    for (body, reason) in [
        (r#"[[], {}]x"#, "invalid JSON at byte 8: extra data"),
        (r#"[1, {}]"#, "not a task body: positional arguments that are no list"),
        (r#"[[], []]"#, "not a task body: keyword arguments that are no dictionary"),
        (r#""text""#, "not a task body: a str"),
        (r#"[[], {}"#, "invalid JSON at byte 7: expected the end of the body"),
    ] {
        message.body = body.into();
        assert_eq!(body::decode(&message).unwrap_err().to_string(), reason);
    }
    message.content_type = "application/x-python-serialize".into();
    assert!(matches!(body::decode(&message), Err(DecodeError::ContentType { .. })));
    message.headers.compression = Some("application/x-brotli".into());
    assert!(matches!(body::decode(&message), Err(DecodeError::Compression { .. })));
}
