//! Writes the recordings into `corpus/`, one file per case, for the fuzzer to start from.

use std::path::Path;

use serde_json::Value;

/// Each target with the recording and the field that it starts from.
const SEEDS: [(&str, &str, &str); 9] = [
    ("body", "messages", "decoded"),
    ("envelope", "messages", "envelope"),
    ("json", "json_texts", "text"),
    ("msgpack", "msgpack", "hex"),
    ("compression", "compression", "hex"),
    ("protocol1", "messages", "decoded"),
    ("result", "results", "text"),
    ("signature", "signatures", "text"),
    ("timestamp", "timestamps", "text"),
];

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, recording, field) in SEEDS {
        let path = here.join(format!("../crates/protocol/tests/recorded/{recording}.json"));
        let recording: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let folder = here.join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (at, case) in recording["cases"].as_array().into_iter().flatten().enumerate() {
            if let Some(text) = case[field].as_str() {
                let bytes = if field == "hex" { unhex(text) } else { text.into() };
                std::fs::write(folder.join(at.to_string()), bytes)?;
            }
        }
    }
    Ok(())
}

fn unhex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks_exact(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
