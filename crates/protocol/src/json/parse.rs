//! Reading JSON: a cursor over the bytes that makes values, or skips and takes single parts.

use super::scan::end_of_plain;
use super::wrapper;
use crate::{DecodeError, Value};

/// How deep lists and dictionaries may be nested.
///
/// CPython gives up at its recursion limit, near 1,000. Celery's own nesting (links of links) stays far below this.
pub const MAX_DEPTH: u32 = 512;

/// How many digits an integer may have.
///
/// Source: `sys.int_info.default_max_str_digits`, CPython 3.11, which raises `ValueError` beyond.
const MAX_DIGITS: usize = 4300;

/// Reads one JSON document.
///
/// # Errors
///
/// [`DecodeError::Json`] where CPython's `json.loads` raises, for nesting beyond [`MAX_DEPTH`], and for lone
/// surrogates in a key.
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut parser = Parser::new(bytes)?;
    let value = parser.value()?;
    parser.end()?;
    Ok(value)
}

/// Text of a JSON string: borrowed where it has no escapes.
#[derive(Debug)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Owned(String),
    /// WTF-8, because of a lone surrogate.
    Surrogates(Vec<u8>),
}

impl Text<'_> {
    /// The text, unless it holds a lone surrogate.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Borrowed(text) => Some(text),
            Self::Owned(text) => Some(text),
            Self::Surrogates(_) => None,
        }
    }
}

impl From<Text<'_>> for Value {
    fn from(text: Text<'_>) -> Self {
        match text {
            Text::Borrowed(text) => Self::String(text.into()),
            Text::Owned(text) => Self::String(text.into()),
            Text::Surrogates(wtf8) => Self::Surrogates(wtf8.into()),
        }
    }
}

/// A cursor over one JSON document.
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| DecodeError::Json { at: error.valid_up_to(), reason: "not UTF-8" })?;
        Ok(Self { text, at: 0, depth: 0 })
    }

    fn fail<T>(&self, reason: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::Json { at: self.at, reason })
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// The first byte of what comes next, after white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.byte() == Some(byte);
        self.at += usize::from(eaten);
        eaten
    }

    /// Takes `byte` if it comes next, after white space.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.eat(byte)
    }

    /// Takes `byte`, which must come next.
    pub(crate) fn expect(&mut self, byte: u8, reason: &'static str) -> Result<(), DecodeError> {
        if self.take(byte) { Ok(()) } else { self.fail(reason) }
    }

    /// Makes sure that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), DecodeError> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { self.fail("extra data") }
    }

    fn enter(&mut self) -> Result<(), DecodeError> {
        if self.depth == MAX_DEPTH {
            return self.fail("nested too deep");
        }
        self.depth += 1;
        Ok(())
    }

    /// Reads any value.
    pub(crate) fn value(&mut self) -> Result<Value, DecodeError> {
        match self.peek() {
            Some(b'"') => Ok(self.string()?.into()),
            Some(b'[') => Ok(Value::List(self.list()?)),
            Some(b'{') => Ok(wrapper::unwrap(self.entries()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'N') => self.word("NaN", Value::Float(f64::NAN)),
            Some(b'I') => self.word("Infinity", Value::Float(f64::INFINITY)),
            _ => self.fail("expected a value"),
        }
    }

    /// Passes over any value that [`Parser::value`] would read, without making it.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(|parser, key| match key {
                Text::Surrogates(_) => parser.fail("lone surrogate in a key"),
                _ => parser.skip(),
            }),
            Some(b'[') => self.items(Self::skip),
            _ => self.value().map(drop),
        }
    }

    /// Takes `null` if it comes next.
    pub(crate) fn take_null(&mut self) -> bool {
        self.skip_space();
        let null = self.text.as_bytes()[self.at..].starts_with(b"null");
        if null {
            self.at += 4;
        }
        null
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, DecodeError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(value)
    }

    /// Reads a list, whose `[` comes next.
    pub(crate) fn list(&mut self) -> Result<Vec<Value>, DecodeError> {
        let mut items = Vec::new();
        self.items(|parser| {
            items.push(parser.value()?);
            Ok(())
        })?;
        Ok(items)
    }

    /// Reads a list, whose `[` comes next; `item` reads each value.
    fn items(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.expect(b'[', "expected a list")?;
        self.enter()?;
        if !self.take(b']') {
            loop {
                item(self)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b']', "expected ',' or ']'")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an object, whose `{` comes next, into its entries; a wrapper stays an object.
    pub(crate) fn entries(&mut self) -> Result<Vec<(Box<str>, Value)>, DecodeError> {
        let mut entries = Vec::new();
        self.object(|parser, key| {
            let key = match key {
                Text::Borrowed(key) => key.into(),
                Text::Owned(key) => key.into(),
                Text::Surrogates(_) => return parser.fail("lone surrogate in a key"),
            };
            entries.push((key, parser.value()?));
            Ok(())
        })?;
        wrapper::keep_last(&mut entries);
        Ok(entries)
    }

    /// Reads an object, whose `{` comes next; `entry` is called after each key and reads the value.
    pub(crate) fn object(
        &mut self,
        mut entry: impl FnMut(&mut Self, Text<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.expect(b'{', "expected an object")?;
        self.enter()?;
        if !self.take(b'}') {
            loop {
                if self.peek() != Some(b'"') {
                    return self.fail("expected a key in double quotes");
                }
                let key = self.string()?;
                self.expect(b':', "expected ':'")?;
                entry(self, key)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.expect(b'}', "expected ',' or '}'")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string, whose opening quote is the next byte.
    pub(crate) fn string(&mut self) -> Result<Text<'a>, DecodeError> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.eat(b'"') {
            return Ok(Text::Borrowed(&self.text[start..self.at - 1]));
        }
        self.escaped_string(start)
    }

    /// Goes on to the next byte that ends a run of plain text: a quote, a backslash or a control character.
    #[inline]
    fn skip_plain(&mut self) {
        self.at += end_of_plain(&self.text.as_bytes()[self.at..]);
    }

    #[cold]
    fn escaped_string(&mut self, start: usize) -> Result<Text<'a>, DecodeError> {
        let text = self.text;
        let mut made = text.as_bytes()[start..self.at].to_vec();
        let mut surrogates = false;
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => surrogates |= self.escape(&mut made)?,
                Some(_) => return self.fail("control character in a string"),
                None => return self.fail("string without end"),
            }
            let plain = self.at;
            self.skip_plain();
            made.extend_from_slice(&text.as_bytes()[plain..self.at]);
        }
        self.at += 1;
        if surrogates {
            return Ok(Text::Surrogates(made));
        }
        match String::from_utf8(made) {
            Ok(made) => Ok(Text::Owned(made)),
            Err(_) => self.fail("not UTF-8"),
        }
    }

    /// Reads one escape into `made`; true if it was a lone surrogate.
    fn escape(&mut self, made: &mut Vec<u8>) -> Result<bool, DecodeError> {
        self.at += 1;
        let plain = match self.byte() {
            Some(b'u') => return self.unicode_escape(made),
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            _ => return self.fail("invalid escape"),
        };
        self.at += 1;
        made.push(plain);
        Ok(false)
    }

    /// Reads the rest of `\uXXXX`, and the low surrogate that follows a high one.
    fn unicode_escape(&mut self, made: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let mut code = self.four_digits()?;
        if (0xd800..0xdc00).contains(&code) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 1;
            // As in CPython, what follows must be an escape of four digits even where it is no low surrogate.
            let low = self.four_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            } else {
                self.at = before;
            }
        }
        match char::from_u32(code) {
            Some(char) => {
                made.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                Ok(false)
            }
            None => {
                let [high, low] = [(code >> 6) as u8 & 0x3f, code as u8 & 0x3f];
                made.extend_from_slice(&[0xe0 | (code >> 12) as u8, 0x80 | high, 0x80 | low]);
                Ok(true)
            }
        }
    }

    /// Reads `uXXXX`.
    fn four_digits(&mut self) -> Result<u32, DecodeError> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            match (*digit as char).to_digit(16) {
                Some(digit) => code = code << 4 | digit,
                None => return self.fail("invalid \\u escape"),
            }
        }
        if digits.len() < 4 {
            return self.fail("invalid \\u escape");
        }
        self.at += 5;
        Ok(code)
    }

    fn skip_digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, DecodeError> {
        let start = self.at;
        let negative = self.eat(b'-');
        if self.byte() == Some(b'I') {
            return self.word("Infinity", Value::Float(f64::NEG_INFINITY));
        }
        if !self.eat(b'0') && self.skip_digits() == 0 {
            return self.fail("expected a value");
        }
        let digits = self.at - start - usize::from(negative);
        let float = self.fraction() | self.exponent();
        let text = &self.text[start..self.at];
        if float {
            // CPython makes infinity of what is too large, as this does.
            return text.parse().map(Value::Float).or_else(|_| self.fail("expected a value"));
        }
        if digits > MAX_DIGITS {
            return self.fail("integer of more than 4300 digits");
        }
        Ok(text.parse().map_or_else(|_| Value::BigInt(text.into()), Value::Int))
    }

    /// Takes `.5`; leaves a `.` without digits, which is then extra data.
    fn fraction(&mut self) -> bool {
        let before = self.at;
        if self.eat(b'.') && self.skip_digits() > 0 {
            return true;
        }
        self.at = before;
        false
    }

    /// Takes `e+5`; leaves an `e` without digits, which is then extra data.
    fn exponent(&mut self) -> bool {
        let before = self.at;
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            if self.skip_digits() > 0 {
                return true;
            }
        }
        self.at = before;
        false
    }
}
