//! Task arguments and results of any serde type.

use std::collections::BTreeMap;

use celeriac_protocol::{Value, json};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i32, i32),
    Box { width: u8, label: Option<String> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    shapes: Vec<Shape>,
    by_number: BTreeMap<u16, char>,
    pair: (bool, ()),
    huge: u128,
    tiny: i128,
    maybe: Option<Box<Everything>>,
    #[serde(default)]
    missing: Option<u8>,
}

fn everything() -> Everything {
    Everything {
        shapes: vec![
            Shape::Point,
            Shape::Circle(0.5),
            Shape::Line(-1, 2),
            Shape::Box { width: 255, label: Some("ä".into()) },
        ],
        by_number: [(7, 'x'), (8, '\u{1f600}')].into(),
        pair: (true, ()),
        huge: u128::MAX,
        tiny: i128::MIN,
        maybe: None,
        missing: None,
    }
}

#[test]
fn a_type_survives_the_way_to_python_and_back() {
    let sent = Everything { maybe: Some(Box::new(everything())), ..everything() };
    let wire = json::to_bytes(&Value::from_serialize(&sent).unwrap());
    let received: Everything = json::parse(&wire).unwrap().deserialize_into().unwrap();
    assert_eq!(received, sent);
}

#[test]
fn bytes_and_uuids_of_python_reach_rust_types() {
    assert_eq!(Value::Bytes(b"ab".as_slice().into()).deserialize_into::<Vec<u8>>().unwrap(), b"ab");
    assert_eq!(Value::Bytes(b"ab".as_slice().into()).deserialize_into::<String>().unwrap(), "ab");
    let id = uuid::Uuid::from_u128(7);
    assert_eq!(Value::Uuid(id).deserialize_into::<String>().unwrap(), id.to_string());
    assert_eq!(Value::Decimal("1.50".into()).deserialize_into::<String>().unwrap(), "1.50");
    assert_eq!(Value::Int(3).deserialize_into::<f64>().unwrap(), 3.0);
}

#[test]
fn a_wrong_type_says_what_was_wanted() {
    let said = |value: Value| value.deserialize_into::<u8>().unwrap_err().to_string();
    assert_eq!(said(Value::from("x")), r#"invalid type: string "x", expected u8"#);
    assert_eq!(said(Value::Int(256)), "invalid value: integer `256`, expected u8");
    assert_eq!(said(Value::Null), "invalid type: unit value, expected u8");
    let error = Value::List(vec![Value::Int(1); 3]).deserialize_into::<(u8, u8)>().unwrap_err();
    assert_eq!(error.to_string(), "invalid length 3, expected fewer elements");
}

#[test]
fn keys_become_text_as_in_python() {
    let map = BTreeMap::from([(true, 1)]);
    assert_eq!(json::to_bytes(&Value::from_serialize(&map).unwrap()), br#"{"true": 1}"#);
    let error = Value::from_serialize(&BTreeMap::from([(vec![1], 1)])).unwrap_err();
    assert_eq!(error.to_string(), "cannot be sent: a list cannot be a key");
}

#[test]
fn a_value_goes_into_other_formats() {
    let value = json::parse(br#"{"a": [1, 18446744073709551615, null, 0.5]}"#).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"a":[1,18446744073709551615,null,0.5]}"#);
    assert_eq!(serde_json::from_str::<Value>(r#"{"a":[1,18446744073709551615,null,0.5]}"#).unwrap(), value);
}
