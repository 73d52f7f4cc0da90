//! Writing MessagePack, byte for byte as `msgpack.packb(value, use_bin_type=True)` does.

use crate::{EncodeError, Value};

/// The MessagePack of `value`.
///
/// Dates, times, decimals and UUIDs are written as text; kombu refuses them.
///
/// # Errors
///
/// For integers beyond 64 bits, text with lone surrogates, and anything of 4 GiB or more.
pub fn to_bytes(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(64);
    write(&mut out, value)?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(bool) => out.push(0xc2 + u8::from(*bool)),
        Value::Int(int) => write_int(out, *int),
        Value::BigInt(digits) => match digits.parse::<u64>() {
            Ok(int) => tagged(out, 0xcf, &int.to_be_bytes()),
            Err(_) => return refuse("an integer beyond 64 bits"),
        },
        Value::Float(float) => tagged(out, 0xcb, &float.to_be_bytes()),
        Value::String(text)
        | Value::DateTime(text)
        | Value::Date(text)
        | Value::Time(text)
        | Value::Decimal(text) => write_str(out, text)?,
        Value::Surrogates(_) => return refuse("text with lone surrogates"),
        Value::Bytes(bytes) => {
            write_len(out, bytes.len(), None, [Some(0xc4), Some(0xc5), Some(0xc6)])?;
            out.extend_from_slice(bytes);
        }
        Value::Uuid(uuid) => {
            write_str(out, uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))?;
        }
        Value::List(items) => {
            write_len(out, items.len(), Some((0x90, 16)), [None, Some(0xdc), Some(0xdd)])?;
            for item in items {
                write(out, item)?;
            }
        }
        Value::Map(entries) => {
            write_len(out, entries.len(), Some((0x80, 16)), [None, Some(0xde), Some(0xdf)])?;
            for (key, value) in entries {
                write_str(out, key)?;
                write(out, value)?;
            }
        }
    }
    Ok(())
}

fn refuse<T>(reason: &'static str) -> Result<T, EncodeError> {
    Err(EncodeError::MessagePack { reason })
}

fn tagged(out: &mut Vec<u8>, tag: u8, data: &[u8]) {
    out.push(tag);
    out.extend_from_slice(data);
}

fn write_int(out: &mut Vec<u8>, int: i64) {
    match int {
        -0x20..=0x7f => out.push(int as u8),
        0x80..=0xff => tagged(out, 0xcc, &[int as u8]),
        0x100..=0xffff => tagged(out, 0xcd, &(int as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => tagged(out, 0xce, &(int as u32).to_be_bytes()),
        0x1_0000_0000.. => tagged(out, 0xcf, &int.to_be_bytes()),
        -0x80..=-0x21 => tagged(out, 0xd0, &[int as u8]),
        -0x8000..=-0x81 => tagged(out, 0xd1, &(int as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => tagged(out, 0xd2, &(int as i32).to_be_bytes()),
        ..=-0x8000_0001 => tagged(out, 0xd3, &int.to_be_bytes()),
    }
}

fn write_str(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    write_len(out, text.len(), Some((0xa0, 32)), [Some(0xd9), Some(0xda), Some(0xdb)])?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Writes a length in its shortest form: in the tag itself, or after the tag for one, two or four bytes.
fn write_len(
    out: &mut Vec<u8>,
    len: usize,
    in_tag: Option<(u8, usize)>,
    tags: [Option<u8>; 3],
) -> Result<(), EncodeError> {
    let [one, two, four] = tags;
    match (in_tag, one, two, four) {
        (Some((tag, end)), ..) if len < end => out.push(tag | len as u8),
        (_, Some(tag), ..) if len <= 0xff => tagged(out, tag, &[len as u8]),
        (_, _, Some(tag), _) if len <= 0xffff => tagged(out, tag, &(len as u16).to_be_bytes()),
        (_, _, _, Some(tag)) if len <= 0xffff_ffff => tagged(out, tag, &(len as u32).to_be_bytes()),
        _ => return refuse("4 GiB or more in one piece"),
    }
    Ok(())
}
