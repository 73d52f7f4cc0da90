//! Laws that hold for any value, by random example.

use celeriac_protocol::{
    Arguments, Compression, Message, Serializer, Timestamp, Value, body, json, msgpack, repr,
};
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("NaN equals nothing", |float| !float.is_nan()).prop_map(Value::Float),
        any::<String>().prop_map(Value::from),
        any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<u128>().prop_map(|bits| Value::Uuid(uuid::Uuid::from_u128(bits))),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}".prop_map(|date| Value::Date(date.into())),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::btree_map(any::<String>(), inner, 0..8).prop_map(|map| Value::Map(
                map.into_iter().map(|(key, value)| (key.into(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_round_trips(value in value()) {
        prop_assert_eq!(json::parse(&json::to_bytes(&value)).unwrap(), value);
    }

    #[test]
    fn json_is_ascii(value in value()) {
        prop_assert!(json::to_bytes(&value).is_ascii());
    }

    #[test]
    fn serde_round_trips(value in value()) {
        let again: Value = Value::from_serialize(&value).unwrap().deserialize_into().unwrap();
        prop_assert_eq!(again, value);
    }

    #[test]
    fn msgpack_reads_what_it_wrote(value in value()) {
        let packed = msgpack::to_bytes(&value).unwrap();
        let read = msgpack::parse(&packed).unwrap();
        prop_assert_eq!(msgpack::to_bytes(&read).unwrap(), packed);
    }

    #[test]
    fn a_body_round_trips(args in prop::collection::vec(value(), 0..4), compression in 0..4_usize) {
        let arguments = Arguments::positional(args);
        let compression = [None, Some(Compression::Zlib), Some(Compression::Bzip2), Some(Compression::Zstd)][compression];
        let mut message = Message { content_type: Serializer::Json.content_type().into(), ..Message::default() };
        message.headers.compression = compression.map(|compression| compression.content_type().into());
        message.body = body::encode(&arguments, Serializer::Json, compression).unwrap();
        prop_assert_eq!(body::decode(&message).unwrap(), arguments);
    }

    #[test]
    fn a_time_round_trips(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
        let moment = Timestamp::from_micros(micros);
        prop_assert_eq!(moment.to_string().parse(), Ok(moment));
    }

    #[test]
    fn a_shortened_repr_stays_near_its_limit(args in prop::collection::vec(value(), 0..6), limit in 1..200_usize) {
        let repr = repr::args(&args, limit);
        // Beyond the limit come at most one escaped text, the dots and the closing brackets.
        prop_assert!(repr.chars().count() <= 2 * limit + 20, "{} of {limit}", repr.chars().count());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = json::parse(&bytes);
        let _ = msgpack::parse(&bytes);
    }
}
