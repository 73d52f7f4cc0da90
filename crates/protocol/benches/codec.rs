//! How long the codecs take on a small task message: `cargo bench -p celeriac-protocol`.
//!
//! Prints nanoseconds per operation: the median of several runs, and the fastest and the slowest.

use std::hint::black_box;
use std::time::Instant;

use celeriac_protocol::{
    Arguments, Envelope, Headers, Message, Properties, ResultRecord, Serializer, State, TaskId, Timestamp,
    Value, body, repr,
};

const RUNS: usize = 9;
const OPERATIONS: u32 = 20_000;

fn measure<T>(name: &str, mut operation: impl FnMut() -> T) {
    let mut nanos: Vec<u128> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..OPERATIONS {
                black_box(operation());
            }
            start.elapsed().as_nanos() / u128::from(OPERATIONS)
        })
        .collect();
    nanos.sort_unstable();
    println!("{name:<44} {:>6} ns  ({} to {})", nanos[RUNS / 2], nanos[0], nanos[RUNS - 1]);
}

/// A message as our producers make it.
fn message(arguments: &Arguments) -> Message {
    let id = TaskId::fresh();
    Message {
        headers: Headers {
            lang: Some("rust".into()),
            task: Some("proj.add".into()),
            id: Some(id.clone()),
            root_id: Some(id.clone()),
            argsrepr: Some("()".into()),
            kwargsrepr: Some("{}".into()),
            origin: Some("gen4711@producer".into()),
            ignore_result: Some(false),
            ..Headers::default()
        },
        properties: Properties { correlation_id: Some(id.as_str().into()), ..Properties::default() },
        content_type: Serializer::Json.content_type().into(),
        content_encoding: Serializer::Json.content_encoding().into(),
        body: body::encode(arguments, Serializer::Json, None).expect("JSON takes every value"),
    }
}

fn main() {
    let no_op = Arguments::default();
    let args = Arguments::positional(vec![
        Value::from("http://example.org/a/b?c=d"),
        Value::Int(7),
        Value::Float(0.25),
    ]);
    let plain = message(&no_op);
    let head = plain.encode_head();
    println!("head of {} bytes, body of {} bytes", head.len(), plain.body.len());
    measure("make an id", TaskId::fresh);
    measure("decode head", || Message::decode(&head, plain.body.clone()));
    measure("decode body, no arguments", || body::decode(&plain));
    let three = message(&args);
    measure("decode body, three arguments", || body::decode(&three));
    measure("encode head", || plain.encode_head());
    measure("encode body, no arguments", || body::encode(&no_op, Serializer::Json, None));
    measure("encode body, three arguments", || body::encode(&args, Serializer::Json, None));
    measure("argsrepr, three arguments", || repr::args(&args.args, repr::LIMIT));

    let envelope = Envelope { message: plain, delivery_tag: "0".into(), ..Envelope::default() };
    let bytes = envelope.encode();
    measure("encode envelope", || envelope.encode());
    measure("decode envelope", || Envelope::decode(&bytes));

    let done = Timestamp::from_micros(1_795_437_000_000_250);
    let record = ResultRecord::new(TaskId::fresh(), State::Success, Value::Int(4), Some(done));
    let stored = record.encode();
    measure("encode result", || record.encode());
    measure("decode result", || ResultRecord::decode(&stored));
    measure("arguments into Rust types", || {
        Value::List(args.args.clone()).deserialize_into::<(String, i64, f64)>()
    });
}
