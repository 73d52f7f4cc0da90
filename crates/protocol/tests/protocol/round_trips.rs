//! What is written reads back as it was.

use celeriac_protocol::{
    Arguments, Headers, Message, Properties, ResultRecord, Serializer, Signature, State, TaskException,
    TaskId, Timestamp, Value, body, json,
};

fn message() -> Message {
    let arguments = Arguments::positional(vec![Value::Int(2), Value::from("zwei")]);
    Message {
        headers: Headers {
            lang: Some("rust".into()),
            task: Some("proj.add".into()),
            id: Some(TaskId::fresh()),
            eta: Some("2026-11-23T14:30:00.250000+02:00".parse().unwrap()),
            retries: 3,
            other: vec![("tenant".into(), Value::from("a"))],
            ..Headers::default()
        },
        properties: Properties { priority: Some(7), ..Properties::default() },
        content_type: Serializer::Json.content_type().into(),
        content_encoding: Serializer::Json.content_encoding().into(),
        body: body::encode(&arguments, Serializer::Json, None).unwrap(),
    }
}

#[test]
fn a_message_survives_its_storage_form() {
    let message = message();
    let decoded = Message::decode(&message.encode_head(), message.body.clone()).unwrap();
    assert_eq!(decoded, message);
}

#[test]
fn a_body_survives_every_serializer() {
    let mut arguments = Arguments::positional(vec![Value::Int(2), Value::Null, Value::Float(0.5)]);
    arguments.kwargs.push(("name".into(), Value::from("ä")));
    arguments.embed.callbacks.push(Signature::new("proj.after"));
    for serializer in [Serializer::Json, Serializer::MessagePack] {
        let message = Message {
            content_type: serializer.content_type().into(),
            body: body::encode(&arguments, serializer, None).unwrap(),
            ..Message::default()
        };
        assert_eq!(body::decode(&message).unwrap(), arguments);
    }
}

#[test]
fn a_result_survives() {
    let mut record = ResultRecord::new(
        TaskId::fresh(),
        State::Failure,
        TaskException::new("ValueError", "no").into_value(),
        Some(Timestamp::from_micros(1_700_000_000_000_001)),
    );
    record.traceback = Some("Traceback".into());
    record.other.push(("worker".into(), Value::from("w@h")));
    assert_eq!(ResultRecord::decode(&record.encode()).unwrap(), record);
    assert_eq!(record.exception().unwrap().to_string(), "ValueError: no");
}

#[test]
fn typed_values_survive_serde() {
    for value in [
        json::parse(br#"[1, -2.5, "x", null, true, {"a": [123456789012345678901234567890]}, NaN]"#).unwrap(),
        Value::from(Timestamp::from_micros(5)),
        Value::Bytes([0xff, 0x00].into()),
        Value::Uuid(uuid::Uuid::from_u128(7)),
        json::parse(br#""\ud800x""#).unwrap(),
    ] {
        let again: Value = Value::from_serialize(&value).unwrap().deserialize_into().unwrap();
        assert_eq!(json::to_bytes(&again), json::to_bytes(&value));
    }
}
