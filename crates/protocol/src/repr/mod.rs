//! Values in the form of Python's `repr`, for people.
//!
//! [`args`] and [`kwargs`] make the `argsrepr` and `kwargsrepr` headers with Celery's truncation; [`repr`] is Python's
//! own, whole.

mod safe;

use std::fmt::Write as _;

pub use safe::{LIMIT, args, kwargs};

use crate::Value;
use crate::json::float_text;
use crate::wtf8::{Piece, pieces};

/// The value as Python's `repr` shows it.
///
/// Characters that Python holds unprintable are escaped up to U+00FF; beyond, only lone surrogates are.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Surrogates(wtf8) => write_wtf8(out, wtf8),
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write(out, item);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_text(out, key);
                out.push_str(": ");
                write(out, value);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar_text(scalar)),
    }
}

/// The `repr` of what holds no other value and is no text.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(int) => int.to_string(),
        Value::BigInt(digits) => digits.to_string(),
        Value::Float(float) => float_text(*float),
        Value::DateTime(text) => datetime(text).unwrap_or_else(|| text.to_string()),
        Value::Date(text) => {
            date(text).map_or_else(|| text.to_string(), |date| format!("datetime.date({date})"))
        }
        Value::Time(text) => {
            time(text).map_or_else(|| text.to_string(), |time| format!("datetime.time({time})"))
        }
        Value::Decimal(text) => format!("Decimal('{text}')"),
        Value::Uuid(uuid) => format!("UUID('{uuid}')"),
        _ => "None".into(),
    }
}

/// `2026-11-23` as `2026, 11, 23`.
fn date(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '-').map(str::parse::<u32>);
    Some(format!("{}, {}, {}", parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// `12:30:00.000005` as `12, 30, 0, 5`, without seconds and microseconds that are zero.
fn time(text: &str) -> Option<String> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.splitn(3, ':').map(str::parse::<u32>);
    let (hour, minute) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let second = parts.next().unwrap_or(Ok(0)).ok()?;
    let micros: u32 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(match (second, micros) {
        (0, 0) => format!("{hour}, {minute}"),
        (second, 0) => format!("{hour}, {minute}, {second}"),
        (second, micros) => format!("{hour}, {minute}, {second}, {micros}"),
    })
}

/// Source: `Lib/datetime.py`, `datetime.__repr__`, `timezone.__repr__`, CPython 3.11.
fn datetime(text: &str) -> Option<String> {
    let (day, clock) = text.split_once('T')?;
    let (clock, zone) = match clock.find(['+', '-']) {
        Some(at) => (&clock[..at], zone(&clock[at..])?),
        None => (clock, String::new()),
    };
    Some(format!("datetime.datetime({}, {}{zone})", date(day)?, time(clock)?))
}

fn zone(offset: &str) -> Option<String> {
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let mut parts = offset[1..].split(':').map(str::parse::<i64>);
    let (hours, minutes) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let seconds = sign * (hours * 3600 + minutes * 60 + parts.next().unwrap_or(Ok(0)).ok()?);
    let (days, seconds) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    Some(match (days, seconds) {
        (0, 0) => ", tzinfo=datetime.timezone.utc".into(),
        (0, seconds) => format!(", tzinfo=datetime.timezone(datetime.timedelta(seconds={seconds}))"),
        (days, seconds) => {
            format!(", tzinfo=datetime.timezone(datetime.timedelta(days={days}, seconds={seconds}))")
        }
    })
}

/// The quote that Python prefers: single, unless only double quotes save an escape.
fn quote(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

fn write_text(out: &mut String, text: &str) {
    let quote = quote(text.contains('\''), text.contains('"'));
    out.push(quote);
    text.chars().for_each(|char| write_char(out, char, quote));
    out.push(quote);
}

fn write_wtf8(out: &mut String, wtf8: &[u8]) {
    let quote = quote(wtf8.contains(&b'\''), wtf8.contains(&b'"'));
    out.push(quote);
    for piece in pieces(wtf8) {
        match piece {
            Piece::Text(text) => text.chars().for_each(|char| write_char(out, char, quote)),
            Piece::Surrogate(surrogate) => {
                let _ = write!(out, "\\u{surrogate:04x}");
            }
        }
    }
    out.push(quote);
}

fn write_char(out: &mut String, char: char, quote: char) {
    match char {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        char if char == quote => out.extend(['\\', char]),
        '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' => {
            let _ = write!(out, "\\x{:02x}", char as u32);
        }
        char => out.push(char),
    }
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    let quote = quote(bytes.contains(&b'\''), bytes.contains(&b'"'));
    out.extend(['b', quote]);
    for &byte in bytes {
        match byte {
            b' '..=b'~' | b'\n' | b'\r' | b'\t' => write_char(out, byte.into(), quote),
            byte => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push(quote);
}
