//! Values in the form of Python's `repr`, for people.

use crate::Value;
use crate::json::float_text;

/// The value as Python's `repr` shows it.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => out.push_str(&format!("{int}")),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(float) => out.push_str(&float_text(*float)),
        Value::String(text) => write_text(out, text),
        Value::Surrogates(wtf8) => write_text(out, &String::from_utf8_lossy(wtf8)),
        Value::Bytes(bytes) => out.push_str(&format!("b'{}'", bytes.escape_ascii())),
        Value::DateTime(text) | Value::Date(text) | Value::Time(text) => out.push_str(text),
        Value::Decimal(text) => out.push_str(&format!("Decimal('{text}')")),
        Value::Uuid(uuid) => out.push_str(&format!("UUID('{uuid}')")),
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
    }
}

fn write_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char == quote => {
                out.push('\\');
                out.push(char);
            }
            char if (char as u32) < 0x20 || char as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", char as u32))
            }
            char => out.push(char),
        }
    }
    out.push(quote);
}
