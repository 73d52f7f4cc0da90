//! Reading MessagePack.

use crate::json::MAX_DEPTH;
use crate::{DecodeError, Timestamp, Value};

/// Reads one MessagePack document.
///
/// # Errors
///
/// [`DecodeError::MessagePack`] for what is cut short, goes on after its end, has text that is not UTF-8, keys that are
/// no text, unknown extension types, or is nested beyond [`MAX_DEPTH`].
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut parser = Parser { bytes, at: 0, depth: 0 };
    let value = parser.value()?;
    if parser.at < bytes.len() {
        return parser.fail("extra data");
    }
    Ok(value)
}

/// The extension type of a timestamp.
const TIMESTAMP: u8 = 0xff;

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::MessagePack { at: self.at, reason })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        match self.bytes[self.at..].get(..len) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => self.fail("cut short"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A big-endian length of 1, 2 or 4 bytes.
    fn len(&mut self, bytes: usize) -> Result<usize, DecodeError> {
        Ok(self.take(bytes)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        let [tag] = self.array()?;
        match tag {
            0x80..=0x8f => self.map(usize::from(tag & 0x0f)),
            0x90..=0x9f => self.list(usize::from(tag & 0x0f)),
            0xdc | 0xdd => {
                let len = self.len(2 << (tag - 0xdc))?;
                self.list(len)
            }
            0xde | 0xdf => {
                let len = self.len(2 << (tag - 0xde))?;
                self.map(len)
            }
            _ => self.scalar(tag),
        }
    }

    /// Reads what holds no other value: a function of its own, to keep the stack of nested values small.
    #[inline(never)]
    fn scalar(&mut self, tag: u8) -> Result<Value, DecodeError> {
        Ok(match tag {
            0x00..=0x7f => Value::Int(tag.into()),
            0xe0..=0xff => Value::Int((tag as i8).into()),
            0xa0..=0xbf => self.text(usize::from(tag & 0x1f))?,
            0xd9..=0xdb => {
                let len = self.len(1 << (tag - 0xd9))?;
                self.text(len)?
            }
            0xc0 => Value::Null,
            0xc2 => Value::Bool(false),
            0xc3 => Value::Bool(true),
            0xc4..=0xc6 => {
                let len = self.len(1 << (tag - 0xc4))?;
                Value::Bytes(self.take(len)?.into())
            }
            0xc7..=0xc9 => {
                let len = self.len(1 << (tag - 0xc7))?;
                self.extension(len)?
            }
            0xd4..=0xd8 => self.extension(1 << (tag - 0xd4))?,
            0xca..=0xd3 => self.number(tag)?,
            _ => return self.fail("a tag that is never used"),
        })
    }

    fn number(&mut self, tag: u8) -> Result<Value, DecodeError> {
        Ok(match tag {
            0xca => Value::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Value::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Value::from(u8::from_be_bytes(self.array()?)),
            0xcd => Value::from(u16::from_be_bytes(self.array()?)),
            0xce => Value::from(u32::from_be_bytes(self.array()?)),
            0xcf => Value::from(u64::from_be_bytes(self.array()?)),
            0xd0 => Value::from(i8::from_be_bytes(self.array()?)),
            0xd1 => Value::from(i16::from_be_bytes(self.array()?)),
            0xd2 => Value::from(i32::from_be_bytes(self.array()?)),
            _ => Value::from(i64::from_be_bytes(self.array()?)),
        })
    }

    fn str(&mut self, len: usize) -> Result<&'a str, DecodeError> {
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).or_else(|_| self.fail("text that is not UTF-8"))
    }

    fn text(&mut self, len: usize) -> Result<Value, DecodeError> {
        Ok(Value::from(self.str(len)?))
    }

    /// Checks a promised number of elements against the bytes that are left, each of which takes at least `least`.
    fn enter(&mut self, len: usize, least: usize) -> Result<(), DecodeError> {
        if len.saturating_mul(least) > self.bytes.len() - self.at {
            return self.fail("cut short");
        }
        if self.depth == MAX_DEPTH {
            return self.fail("nested too deep");
        }
        self.depth += 1;
        Ok(())
    }

    fn list(&mut self, len: usize) -> Result<Value, DecodeError> {
        self.enter(len, 1)?;
        // A value takes more room than its byte on the wire, so the promise is not believed beyond a little.
        let mut items = Vec::with_capacity(len.min(1024));
        for _ in 0..len {
            items.push(self.value()?);
        }
        self.depth -= 1;
        Ok(Value::List(items))
    }

    fn map(&mut self, len: usize) -> Result<Value, DecodeError> {
        self.enter(len, 2)?;
        let mut entries = Vec::with_capacity(len.min(1024));
        for _ in 0..len {
            let [tag] = self.array()?;
            let len = match tag {
                0xa0..=0xbf => usize::from(tag & 0x1f),
                0xd9..=0xdb => self.len(1 << (tag - 0xd9))?,
                _ => return self.fail("a key that is no text"),
            };
            entries.push((self.str(len)?.into(), self.value()?));
        }
        self.depth -= 1;
        crate::json::keep_last(&mut entries);
        Ok(Value::Map(entries))
    }

    /// Source: "Timestamp extension type" of the MessagePack specification.
    fn extension(&mut self, len: usize) -> Result<Value, DecodeError> {
        let [kind] = self.array()?;
        let (seconds, nanos) = match (kind, self.take(len)?) {
            (TIMESTAMP, [a, b, c, d]) => (i64::from(u32::from_be_bytes([*a, *b, *c, *d])), 0),
            (TIMESTAMP, data @ [_, _, _, _, _, _, _, _]) => {
                let packed = data.iter().fold(0, |packed: u64, byte| packed << 8 | u64::from(*byte));
                ((packed & 0x3_ffff_ffff) as i64, packed >> 34)
            }
            (TIMESTAMP, [a, b, c, d, seconds @ ..]) if seconds.len() == 8 => {
                let seconds = seconds.iter().fold(0, |packed: u64, byte| packed << 8 | u64::from(*byte));
                (seconds as i64, u64::from(u32::from_be_bytes([*a, *b, *c, *d])))
            }
            _ => return self.fail("an extension type that is not known"),
        };
        match seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add((nanos / 1000) as i64)) {
            Some(micros) => Ok(Value::from(Timestamp::from_micros(micros))),
            None => self.fail("a timestamp that is out of range"),
        }
    }
}
