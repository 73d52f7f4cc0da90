//! What each fuzz target does with its bytes: decode them, and where that succeeds, check that nothing is lost.
//!
//! The tests of `celeriac-protocol` include this file and run it on mutated recordings, so that these checks are part of
//! every build and not of fuzzing alone.

use bytes::Bytes;
use celeriac_protocol::{
    Compression, Envelope, Headers, Message, Properties, ResultRecord, Serializer, Signature, Timestamp,
    Value, body,
    control::{ControlCommand, Reply},
    events, json, msgpack, repr,
};

/// A name, and what to do with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 14] = [
    ("body", body),
    ("command", command),
    ("compression", compression),
    ("envelope", envelope),
    ("events", events),
    ("head", head),
    ("headers", headers),
    ("json", json),
    ("msgpack", msgpack),
    ("properties", properties),
    ("protocol1", protocol1),
    ("result", result),
    ("signature", signature),
    ("timestamp", timestamp),
];

/// How large decompressed bytes may get here.
const LIMIT: usize = 1 << 20;

fn message(content_type: &str, compression: Option<&str>, body: &[u8]) -> Message {
    let mut message = Message {
        content_type: content_type.into(),
        body: Bytes::copy_from_slice(body),
        ..Message::default()
    };
    message.headers.compression = compression.map(Into::into);
    message
}

/// JSON that was read is written and read again alike, and the ways through serde and `repr` hold.
pub fn json(data: &[u8]) {
    let Ok(value) = json::parse(data) else { return };
    let written = json::to_bytes(&value);
    assert!(written.is_ascii());
    let again = json::parse(&written).expect("what was written reads");
    assert_eq!(json::to_bytes(&again), written);
    let _ = repr::repr(&value);
    let _ = repr::args(&[again], 100);
    let through_serde = Value::from_serialize(&value).expect("a value serializes");
    let through_serde: Value = through_serde.deserialize_into().expect("a value deserializes");
    assert_eq!(json::to_bytes(&through_serde), written);
}

/// MessagePack that was read is written and read again alike.
pub fn msgpack(data: &[u8]) {
    let Ok(value) = msgpack::parse(data) else { return };
    let written = msgpack::to_bytes(&value).expect("what was read can be written");
    let again = msgpack::parse(&written).expect("what was written reads");
    assert_eq!(msgpack::to_bytes(&again).expect("what was read can be written"), written);
}

/// Headers that were read are written and read again alike.
pub fn headers(data: &[u8]) {
    let Ok(headers) = Headers::from_json(data) else { return };
    let written = headers.to_json();
    assert_eq!(Headers::from_json(&written).expect("what was written reads").to_json(), written);
}

/// Properties that were read are written and read again alike.
pub fn properties(data: &[u8]) {
    let Ok(properties) = Properties::from_json(data) else { return };
    let written = properties.to_json();
    assert_eq!(Properties::from_json(&written).expect("what was written reads").to_json(), written);
}

/// The head of a message that was read is written and read again alike.
pub fn head(data: &[u8]) {
    let Ok(message) = Message::decode(data, Bytes::new()) else { return };
    let written = message.encode_head();
    let again = Message::decode(&written, Bytes::new()).expect("what was written reads");
    assert_eq!(again.encode_head(), written);
}

/// An envelope that was read is written and read again alike.
pub fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::decode(data) else { return };
    let written = envelope.encode();
    let again = Envelope::decode(&written).expect("what was written reads");
    assert_eq!(again.message.body, envelope.message.body);
    assert_eq!(again.encode(), written);
}

/// A body that was read in any serializer, compressed or not, is written and read again alike.
pub fn body(data: &[u8]) {
    for serializer in [Serializer::Json, Serializer::MessagePack] {
        for compression in [None, Some("zlib"), Some("bzip2"), Some("zstd")] {
            let message = message(serializer.content_type(), compression, data);
            let Ok(arguments) = body::decode_limited(&message, LIMIT) else { continue };
            // JSON may hold what MessagePack lacks, so the way back is by JSON.
            let written = body::encode(&arguments, Serializer::Json, None).expect("JSON has room for all");
            let again = body::decode(&self::message("application/json", None, &written))
                .expect("what was written reads");
            assert_eq!(body::encode(&again, Serializer::Json, None).expect("JSON has room for all"), written);
        }
    }
}

/// A command that was understood can be replied to, and the reply is understood.
pub fn command(data: &[u8]) {
    for serializer in [Serializer::Json, Serializer::MessagePack] {
        let message = message(serializer.content_type(), None, data);
        let _ = Reply::decode(&message);
        let Ok(command) = ControlCommand::decode(&message) else { continue };
        let Some(to) = command.reply_to else { continue };
        let reply = to.message("w@h", Value::Null, command.clock);
        assert_eq!(&*Reply::decode(&reply).expect("what was written reads").node, "w@h");
    }
}

/// Whatever came as events has a type each.
pub fn events(data: &[u8]) {
    for serializer in [Serializer::Json, Serializer::MessagePack] {
        let Ok(events) = events::decode(&message(serializer.content_type(), None, data)) else { continue };
        assert!(events.iter().all(|event| event.get("type").and_then(Value::as_str).is_some()));
    }
}

/// A message of protocol 1 that was understood has a body and headers of protocol 2.
pub fn protocol1(data: &[u8]) {
    for serializer in [Serializer::Json, Serializer::MessagePack] {
        let Ok(upgraded) = message(serializer.content_type(), None, data).into_protocol_2() else { continue };
        assert!(upgraded.is_protocol_2());
        body::decode(&upgraded).expect("what was written reads");
    }
}

/// A result that was read is written and read again alike.
pub fn result(data: &[u8]) {
    for serializer in [Serializer::Json, Serializer::MessagePack] {
        let Ok(record) = ResultRecord::decode_as(data, serializer) else { continue };
        let written = record.encode();
        let again = ResultRecord::decode(&written).expect("what was written reads");
        assert_eq!(again.encode(), written);
        if let Some(exception) = again.exception() {
            let _ = exception.to_string();
        }
    }
}

/// A signature that was read is written and read again alike; its parts are read or refused.
pub fn signature(data: &[u8]) {
    let Ok(value) = json::parse(data) else { return };
    let Ok(signature) = Signature::from_value(value) else { return };
    let _ = (signature.links(), signature.link_errors(), signature.tasks(), signature.chord_body());
    let written = json::to_bytes(&signature.into_value());
    let again = json::parse(&written).map(Signature::from_value).expect("what was written reads");
    assert_eq!(json::to_bytes(&again.expect("what was written is a signature").into_value()), written);
}

/// Decompression ends within its limit; what was compressed comes back.
pub fn compression(data: &[u8]) {
    for compression in [Compression::Zlib, Compression::Bzip2, Compression::Zstd] {
        if let Ok(plain) = compression.decompress(data, LIMIT) {
            assert!(plain.len() <= LIMIT);
        }
        let compressed = compression.compress(data).expect("small data is compressed");
        assert_eq!(compression.decompress(&compressed, data.len()).expect("what was compressed reads"), data);
    }
}

/// A time that was read is written and read again alike.
pub fn timestamp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(moment) = text.parse::<Timestamp>() else { return };
    let written = moment.to_string();
    // An offset may carry a moment past the years that have four digits; such text is not read back.
    if written.len() <= 32 && !written.starts_with('-') && !written.starts_with("0-") {
        assert_eq!(written.parse(), Ok(moment));
    }
}
