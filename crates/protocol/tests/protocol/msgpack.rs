//! MessagePack against msgpack 1.2.4 with kombu's settings.

use celeriac_protocol::{DecodeError, EncodeError, Value, json, msgpack};

use crate::recorded::{hex, recording, text};

#[test]
fn values_are_read_and_written_as_by_kombu() {
    for case in
        recording!("msgpack").iter().filter(|case| case["json"].is_string() && case["hex"].is_string())
    {
        let value = json::parse(text(case, "json").as_bytes()).unwrap();
        let packed = hex(case, "hex");
        assert_eq!(msgpack::to_bytes(&value).unwrap(), packed, "{case}");
        let read = msgpack::parse(&packed).unwrap();
        assert_eq!(json::to_bytes(&read), json::to_bytes(&value), "{case}");
    }
}

#[test]
fn long_values_have_the_right_length_forms() {
    for case in recording!("msgpack").iter().filter(|case| case["long"].is_string()) {
        let len = usize::try_from(case["len"].as_u64().unwrap()).unwrap();
        let numbers = || (0..i64::try_from(len).unwrap()).map(Value::Int);
        let value = match text(case, "long") {
            "str" => Value::from("x".repeat(len)),
            "bytes" => Value::Bytes(vec![b'x'; len].into()),
            "list" => Value::List(numbers().collect()),
            _ => Value::Map(numbers().enumerate().map(|(key, n)| (key.to_string().into(), n)).collect()),
        };
        let packed = msgpack::to_bytes(&value).unwrap();
        assert_eq!(packed.len() as u64, case["size"].as_u64().unwrap(), "{case}");
        assert_eq!(packed[..24], hex(case, "start"), "{case}");
        assert_eq!(msgpack::parse(&packed).unwrap(), value);
    }
}

#[test]
fn odd_bytes_are_read_or_refused_as_by_kombu() {
    let cases = recording!("msgpack");
    for case in cases.iter().filter(|case| !case["error"].is_null() || !case["read"].is_null()) {
        let ours = msgpack::parse(&hex(case, "hex")).map(|value| json::to_bytes(&value));
        let ours = ours.map(|json| String::from_utf8(json).unwrap());
        assert_eq!(ours.as_deref().ok(), case["read"].as_str(), "{case} {ours:?}");
    }
}

#[test]
fn what_has_no_form_is_refused() {
    for case in recording!("msgpack").iter().filter(|case| case["refused"].is_string()) {
        let value = json::parse(text(case, "json").as_bytes()).unwrap();
        let packed = msgpack::to_bytes(&value);
        // Where kombu raises a TypeError we send text: a Rust task cannot choose another type.
        match text(case, "refused") {
            "TypeError" => assert_eq!(msgpack::parse(&packed.unwrap()).unwrap().as_str(), value.as_str()),
            _ => assert!(matches!(packed, Err(EncodeError::MessagePack { .. })), "{case}"),
        }
    }
}

#[test]
fn a_promise_of_many_elements_takes_no_memory() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff\xa1a",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
    ] {
        assert!(matches!(msgpack::parse(bytes), Err(DecodeError::MessagePack { reason: "cut short", .. })));
    }
}

#[test]
fn nesting_ends_where_the_limit_is() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    assert!(msgpack::parse(&nested(json::MAX_DEPTH as usize)).is_ok());
    assert!(msgpack::parse(&nested(json::MAX_DEPTH as usize + 1)).is_err());
}
