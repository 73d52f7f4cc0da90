//! Writing JSON, byte for byte as `json.dumps` does.

use super::key::Key;
use super::scan::end_of_unescaped;
use super::wrapper;
use crate::Value;
use crate::wtf8::{Piece, pieces};

/// As many digits of a float as can be equally near to it as others.
const LONG: usize = 16;

/// The JSON of `value`.
pub fn to_bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write(value, &mut out);
    out
}

/// Appends the JSON of `value` to `out`.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(int) => write_int(out, *int),
        Value::BigInt(digits) => out.extend_from_slice(digits.as_bytes()),
        Value::Float(float) => write_float(out, *float),
        Value::String(text) => write_str(out, text),
        Value::Surrogates(wtf8) => write_wtf8(out, wtf8),
        Value::Bytes(bytes) => wrapper::write_bytes(out, bytes),
        Value::DateTime(text) => wrapper::write_text(out, "datetime", text),
        Value::Date(text) => wrapper::write_text(out, "date", text),
        Value::Time(text) => wrapper::write_text(out, "time", text),
        Value::Decimal(text) => wrapper::write_text(out, "decimal", text),
        Value::Uuid(uuid) => wrapper::write_uuid(out, *uuid),
        Value::List(items) => write_list(out, items),
        Value::Map(entries) => {
            let mut object = ObjectWriter::new(out);
            for (key, value) in entries {
                object.entry(key, value);
            }
            object.end();
        }
    }
}

/// Appends the JSON of a list to `out`.
pub(crate) fn write_list(out: &mut Vec<u8>, items: &[Value]) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        write(item, out);
    }
    out.push(b']');
}

/// Writes an object entry by entry.
pub(crate) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> ObjectWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Goes on with an object that has entries already.
    pub(crate) fn resume(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: false }
    }

    /// Writes a key; the caller writes the value into what this returns.
    #[inline]
    pub(crate) fn key(&mut self, key: Key) -> &mut Vec<u8> {
        self.out.extend_from_slice(if self.first { key.at_first() } else { key.after_another() });
        self.first = false;
        self.out
    }

    /// Writes a key of any text, as [`ObjectWriter::key`] does.
    pub(crate) fn any_key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.extend_from_slice(b", ");
        }
        self.first = false;
        write_str(self.out, key);
        self.out.extend_from_slice(b": ");
        self.out
    }

    /// Writes an entry with a key of any text.
    pub(crate) fn entry(&mut self, key: &str, value: &Value) {
        write(value, self.any_key(key));
    }

    /// Writes an entry.
    #[inline]
    pub(crate) fn value(&mut self, key: Key, value: &Value) {
        write(value, self.key(key));
    }

    /// Writes an entry of text.
    #[inline]
    pub(crate) fn text(&mut self, key: Key, text: &str) {
        write_str(self.key(key), text);
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Appends an integer in decimal.
pub(crate) fn write_int(out: &mut Vec<u8>, int: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
}

/// Appends the float that is nearest to `count` times ten to the minus `scale`, as [`float_text`] writes it.
pub(crate) fn write_decimal(out: &mut Vec<u8>, count: u64, scale: u32) {
    debug_assert!(scale < 10, "exponents of one digit");
    let unit = 10_u64.pow(scale);
    // Up to here floats tell one count from the next, so that the shortest digits that read back are those of the count.
    if count == 0 || count >= 1 << 52 {
        return write_float(out, count as f64 / unit as f64);
    }
    let mut buffer = itoa::Buffer::new();
    if count < unit / 10_000 {
        let digits = buffer.format(count);
        out.extend_from_slice(&digits.as_bytes()[..1]);
        let decimals = digits[1..].trim_end_matches('0');
        if !decimals.is_empty() {
            out.push(b'.');
            out.extend_from_slice(decimals.as_bytes());
        }
        out.extend_from_slice(b"e-0");
        return write_int(out, i64::from(scale) - digits.len() as i64 + 1);
    }
    out.extend_from_slice(buffer.format(count / unit).as_bytes());
    out.push(b'.');
    // The one in front keeps the zeros that come first.
    let decimals = &buffer.format(unit + count % unit)[1..];
    out.extend_from_slice(&decimals.as_bytes()[..1]);
    out.extend_from_slice(decimals[1..].trim_end_matches('0').as_bytes());
}

fn write_float(out: &mut Vec<u8>, float: f64) {
    let word: &[u8] = if float.is_nan() {
        b"NaN"
    } else if float == f64::INFINITY {
        b"Infinity"
    } else if float == f64::NEG_INFINITY {
        b"-Infinity"
    } else {
        return out.extend_from_slice(float_text(float).as_bytes());
    };
    out.extend_from_slice(word);
}

/// A float in the form of Python's `repr`: the shortest digits that read back, with an exponent below 1e-4 and from
/// 1e16 on.
///
/// Source: `Objects/floatobject.c`, `float_repr`, and `Python/pystrtod.c`, `format_float_short`, CPython 3.11.
pub(crate) fn float_text(float: f64) -> String {
    if !float.is_finite() {
        return if float.is_nan() {
            "nan"
        } else if float > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .into();
    }
    let magnitude = float.abs();
    let is_positional = float == 0.0 || (1e-4..1e16).contains(&magnitude);
    if is_positional {
        let text = format!("{float:?}");
        // Of long digits Rust takes others than Python, where two are equally near.
        if text.len() < LONG {
            return text;
        }
    }
    let shortest = shortest(float);
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    if !is_positional {
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    positional(digits, exponent.parse().unwrap_or(0))
}

/// The shortest digits that read back, as `-1.25e-3`; among several, those next to the exact value.
fn shortest(float: f64) -> String {
    let shortest = format!("{float:e}");
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    // Rust rounds up where two are equally near, Python to the even one. That happens to long digits only.
    if digits >= LONG {
        let even = format!("{float:.*e}", digits - 1);
        if even.parse() == Ok(float) {
            return even;
        }
    }
    shortest
}

/// Writes `1.25` times ten to the `exponent` without an exponent.
fn positional(digits: &str, exponent: i32) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    match usize::try_from(exponent) {
        Ok(point) if point + 1 < digits.len() => {
            format!("{sign}{}.{}", &digits[..=point], &digits[point + 1..])
        }
        Ok(point) => format!("{sign}{digits:0<width$}.0", width = point + 1),
        Err(_) => format!("{sign}0.{:0>width$}{digits}", "", width = exponent.unsigned_abs() as usize - 1),
    }
}

/// Appends text in quotes, in ASCII.
pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let plain = end_of_unescaped(bytes);
    out.extend_from_slice(&bytes[..plain]);
    if plain < bytes.len() {
        write_escaped(out, &text[plain..]);
    }
    out.push(b'"');
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, text: &str) {
    for char in text.chars() {
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='~' => out.push(char as u8),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write_unit(out, *unit);
                }
            }
        }
    }
}

/// Appends `\uXXXX`.
fn write_unit(out: &mut Vec<u8>, unit: u16) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(b"0123456789abcdef"[usize::from(unit >> shift & 0xf)]);
    }
}

/// Appends WTF-8 text in quotes, in ASCII: its lone surrogates as `\uXXXX`.
fn write_wtf8(out: &mut Vec<u8>, wtf8: &[u8]) {
    out.push(b'"');
    for piece in pieces(wtf8) {
        match piece {
            Piece::Text(text) => write_escaped(out, text),
            Piece::Surrogate(surrogate) => write_unit(out, surrogate),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_the_float_that_python_writes() {
        for (scale, unit) in [(6, 1e6), (9, 1e9)] {
            let mut some = 1;
            while some < u64::MAX / 3 {
                for count in [some, some - 1, some / 10 * 10, some / 1_000_000 * 1_000_000] {
                    let mut written = Vec::new();
                    write_decimal(&mut written, count, scale);
                    assert_eq!(
                        String::from_utf8(written).unwrap(),
                        float_text(count as f64 / unit),
                        "{count}"
                    );
                }
                some = some * 3 / 2 + 1;
            }
        }
    }
}
