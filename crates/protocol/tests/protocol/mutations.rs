//! Every decoder on damaged recordings: none may panic, and what still decodes must survive a round trip.
//!
//! Set `CELERIAC_MUTATIONS` to the number of rounds per decoder for a longer run.

#[path = "../../../../fuzz/src/decoders.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz crate, to which the file belongs")]
mod decoders;

use fastrand::Rng;

use crate::recorded::{bytes, hex, recording, text};

const SEED: u64 = 20_261_123;

/// Fragments that mean something to one decoder or another.
const TOKENS: [&[u8]; 22] = [
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"-0",
    b"\\ud800",
    b"\\u0000",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"\"",
    b"{\"__type__\": \"uuid\", \"__value__\": ",
    b"\"task\"",
    b"\xff",
    b"\x00",
    b"\xdd\xff\xff\xff\xff",
    b"\xc1",
    b"99999999999999999999",
];

/// As kombu's mailbox sends them.
const COMMANDS: [&str; 2] = [
    r#"{"method": "ping", "arguments": {}, "destination": null, "pattern": null, "matcher": null, "ticket": "7b1d", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "a5c5"}}"#,
    r#"{"method": "revoke", "arguments": {"task_id": ["a", "b"], "terminate": true, "signal": "SIGTERM"}, "destination": ["w@h"]}"#,
];

/// As workers send them.
const EVENTS: [&str; 2] = [
    r#"[{"type": "task-started", "uuid": "a", "hostname": "w@h", "utcoffset": 0, "pid": 7, "clock": 3, "timestamp": 1.5}]"#,
    r#"{"type": "worker-heartbeat", "freq": 2.0, "active": 0, "loadavg": [0.1, 0.2, 0.3], "sw_ident": "py-celery"}"#,
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let messages = recording!("messages");
    let envelopes = messages.iter().map(|case| text(case, "envelope"));
    let part = |name: &str| {
        let parts =
            envelopes.clone().map(|envelope| serde_json::from_str::<serde_json::Value>(envelope).unwrap());
        parts.map(|envelope| envelope[name].to_string().into_bytes()).collect()
    };
    let texts = |cases: &[serde_json::Value], field: &str| {
        cases.iter().filter_map(|case| Some(case[field].as_str()?.as_bytes().to_vec())).collect()
    };
    match target {
        "body" | "protocol1" => texts(&messages, "decoded"),
        "envelope" | "head" => envelopes.map(Into::into).collect(),
        "headers" => part("headers"),
        "properties" => part("properties"),
        "command" => COMMANDS.map(Into::into).into(),
        "events" => EVENTS.map(Into::into).into(),
        "result" => recording!("results").iter().map(bytes).collect(),
        "signature" => texts(&recording!("signatures"), "text"),
        "timestamp" => texts(&recording!("timestamps"), "text"),
        "msgpack" | "compression" => {
            let cases = if target == "msgpack" { recording!("msgpack") } else { recording!("compression") };
            cases.iter().filter(|case| case["hex"].is_string()).map(|case| hex(case, "hex")).collect()
        }
        _ => texts(&recording!("json_texts"), "text"),
    }
}

/// Damages bytes in one to four places.
fn mutate(rng: &mut Rng, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(0..=bytes.len());
        let end = rng.usize(at..=bytes.len().min(at + 32));
        match rng.u8(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => bytes = [&bytes[..end], &bytes[at..]].concat(),
            5 => bytes = [&bytes[..at], &other[rng.usize(0..=other.len())..]].concat(),
            _ => bytes = [&bytes[..at], TOKENS[rng.usize(..TOKENS.len())], &bytes[end..]].concat(),
        }
    }
    // Compressing large input is what costs time here, and small input finds as much.
    bytes.truncate(16 << 10);
    bytes
}

fn rounds() -> usize {
    std::env::var("CELERIAC_MUTATIONS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1000)
}

#[test]
fn no_decoder_panics_on_damaged_bytes() {
    for (target, decode) in decoders::ALL {
        let corpus = corpus(target);
        let mut rng = Rng::with_seed(SEED);
        corpus.iter().for_each(|bytes| decode(bytes));
        for round in 0..rounds() {
            let [first, second] = [0; 2].map(|_| &corpus[rng.usize(..corpus.len())]);
            let damaged = mutate(&mut rng, first.clone(), second);
            let caught = std::panic::catch_unwind(|| decode(&damaged));
            assert!(caught.is_ok(), "{target}, round {round}: {}", damaged.escape_ascii());
        }
    }
}
