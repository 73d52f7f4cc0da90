//! The body of a task message: arguments, and what happens after the task.

use bytes::Bytes;

use crate::json::{ObjectWriter, Parser};
use crate::{
    Compression, DecodeError, EncodeError, Message, Serializer, Signature, Value, compression, json, msgpack,
};

/// The decoded body of a task message.
///
/// Source: `celery/app/amqp.py`, `AMQP.as_task_v2`, Celery 5.7.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments, in the order of the wire.
    pub kwargs: Vec<(Box<str>, Value)>,
    /// What happens after the task.
    pub embed: Embed,
}

/// What happens after the task: the third part of a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embed {
    /// `callbacks`: sent with the result when the task succeeds.
    pub callbacks: Vec<Signature>,
    /// `errbacks`: sent when it fails.
    pub errbacks: Vec<Signature>,
    /// `chain`: the tasks that follow, the last one first.
    pub chain: Vec<Signature>,
    /// `chord`: the body of the chord that the task is a part of.
    pub chord: Option<Box<Signature>>,
    /// Every other entry, and known ones of another form than Celery writes.
    pub other: Vec<(Box<str>, Value)>,
}

/// Decodes the body of a message of protocol 2 or 1.
///
/// # Errors
///
/// When the content type or the compression is unknown, or the bytes are not what these promise, or larger than
/// [`compression::DEFAULT_LIMIT`], or not the body of a task.
pub fn decode(message: &Message) -> Result<Arguments, DecodeError> {
    decode_limited(message, compression::DEFAULT_LIMIT)
}

/// Decodes as [`decode`] does, with a limit of its own on the decompressed size.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_limited(message: &Message, limit: usize) -> Result<Arguments, DecodeError> {
    decode_parts(message, limit, true)
}

/// Decodes what a task is called with, and leaves the embed empty. Refuses what [`decode_limited`] refuses.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_call(message: &Message, limit: usize) -> Result<Arguments, DecodeError> {
    let arguments = decode_parts(message, limit, false)?;
    Ok(Arguments { embed: Embed::default(), ..arguments })
}

/// Decodes a body, and what JSON says of the embed only if it is asked for.
fn decode_parts(message: &Message, limit: usize, with_embed: bool) -> Result<Arguments, DecodeError> {
    let plain = compression::plain_body(&message.body, message.headers.compression.as_deref(), limit)?;
    match Serializer::from_name(&message.content_type) {
        Some(Serializer::Json) => decode_json(&plain, with_embed),
        Some(Serializer::MessagePack) => Arguments::from_value(msgpack::parse(&plain)?),
        None => Err(DecodeError::ContentType { content_type: message.content_type.clone() }),
    }
}

/// The end of a body in JSON after which nothing happens, as Celery and [`encode`] write it, and without its spaces.
const NOTHING_FOLLOWS: [&[u8]; 2] = [
    br#"{"callbacks": null, "errbacks": null, "chain": null, "chord": null}]"#,
    br#"{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]"#,
];

/// Whether anything happens after the task of this message: whether its body has an [`Embed`] that is not empty.
///
/// Cheap where nothing does: the last bytes of such a body in plain JSON tell. Others are decoded. No, for a body
/// that cannot be decoded.
pub fn has_embed(message: &Message) -> bool {
    may_have_embed(message) && decode(message).is_ok_and(|arguments| !arguments.embed.is_empty())
}

/// Whether anything may happen after the task of this message, as far as the last bytes of its body tell. Decodes nothing.
pub fn may_have_embed(message: &Message) -> bool {
    // What ends with an object and the end of the list can only hold it as its last element, which is the embed.
    message.headers.compression.is_some()
        || Serializer::from_name(&message.content_type) != Some(Serializer::Json)
        || !NOTHING_FOLLOWS.iter().any(|end| message.body.ends_with(end))
}

/// Whether a chord that hears of it is all that happens after the task of this message, as far as that shows in a plain
/// body in JSON without making values of it.
pub fn tells_only_a_chord(message: &Message) -> bool {
    message.headers.compression.is_none()
        && Serializer::from_name(&message.content_type) == Some(Serializer::Json)
        && has_only_a_chord(&message.body).unwrap_or(false)
}

fn has_only_a_chord(bytes: &[u8]) -> Result<bool, DecodeError> {
    let mut parser = Parser::new(bytes)?;
    parser.expect(b'[', "expected a list")?;
    parser.skip()?;
    parser.expect(b',', "expected the keyword arguments")?;
    parser.skip()?;
    parser.expect(b',', "expected what follows")?;
    let (mut chords, mut others) = (0, 0);
    parser.object(|parser, name| {
        if parser.take_null() {
            return Ok(());
        }
        let is_chord = name.as_str() == Some("chord") && parser.peek() == Some(b'{');
        let counted = if is_chord && skip_signature(parser)? { &mut chords } else { &mut others };
        *counted += 1;
        // A signature has been passed over.
        if is_chord { Ok(()) } else { parser.skip() }
    })?;
    parser.expect(b']', "expected the end of the body")?;
    parser.end()?;
    Ok((chords, others) == (1, 0))
}

/// Passes over an object, and says whether it is a signature, by what its entries begin with.
fn skip_signature(parser: &mut Parser<'_>) -> Result<bool, DecodeError> {
    let (mut has_task, mut is_signature) = (false, true);
    parser.object(|parser, name| {
        let first = parser.peek();
        is_signature &= match name.as_str() {
            Some("task") => {
                has_task = true;
                first == Some(b'"')
            }
            Some("args") => matches!(first, Some(b'[' | b'n')),
            Some("kwargs" | "options") => matches!(first, Some(b'{' | b'n')),
            Some("subtask_type") => matches!(first, Some(b'"' | b'n')),
            Some("immutable") => matches!(first, Some(b't' | b'f' | b'n')),
            Some(_) => true,
            None => false,
        };
        parser.skip()
    })?;
    Ok(has_task && is_signature)
}

/// Encodes a body of protocol 2, and compresses it if asked to.
///
/// # Errors
///
/// When the serializer has no form for a value, which JSON always has.
pub fn encode(
    arguments: &Arguments,
    serializer: Serializer,
    compression: Option<Compression>,
) -> Result<Bytes, EncodeError> {
    let plain = match serializer {
        Serializer::Json => encode_json(arguments),
        Serializer::MessagePack => msgpack::to_bytes(&arguments.clone().into_value())?,
    };
    match compression {
        Some(compression) => Ok(compression.compress(&plain)?.into()),
        None => Ok(plain.into()),
    }
}

/// Reads `[args, kwargs, embed]` without a value for the whole.
fn decode_json(bytes: &[u8], with_embed: bool) -> Result<Arguments, DecodeError> {
    let mut parser = Parser::new(bytes)?;
    if parser.peek() != Some(b'[') {
        let value = parser.value()?;
        parser.end()?;
        return Arguments::from_value(value);
    }
    parser.expect(b'[', "expected a list")?;
    if parser.peek() != Some(b'[') {
        return Err(not_a_body("positional arguments that are no list"));
    }
    let mut arguments = Arguments { args: parser.list()?, ..Arguments::default() };
    parser.expect(b',', "expected the keyword arguments")?;
    if parser.peek() != Some(b'{') {
        return Err(not_a_body("keyword arguments that are no dictionary"));
    }
    arguments.kwargs = parser.entries()?;
    if parser.take(b',') && !parser.take_null() {
        let embed = &mut arguments.embed;
        parser.object(|parser, name| {
            if !parser.take_null() {
                let name = name.as_str().ok_or_else(|| not_a_body("a lone surrogate in a name"))?;
                match with_embed {
                    true => embed.set(name, parser.value()?),
                    false => parser.skip()?,
                }
            }
            Ok(())
        })?;
    }
    parser.expect(b']', "expected the end of the body")?;
    parser.end()?;
    Ok(arguments)
}

fn encode_json(arguments: &Arguments) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.push(b'[');
    json::write_list(&mut out, &arguments.args);
    out.extend_from_slice(b", ");
    let mut kwargs = ObjectWriter::new(&mut out);
    for (name, value) in &arguments.kwargs {
        kwargs.entry(name, value);
    }
    kwargs.end();
    out.extend_from_slice(b", ");
    if arguments.embed.is_empty() {
        out.extend_from_slice(NOTHING_FOLLOWS[0]);
    } else {
        json::write(&arguments.embed.clone().into_value(), &mut out);
        out.push(b']');
    }
    out
}

fn not_a_body(reason: impl Into<Box<str>>) -> DecodeError {
    DecodeError::shape("task body", reason)
}

impl Arguments {
    /// Positional arguments alone.
    pub fn positional(args: Vec<Value>) -> Self {
        Self { args, ..Self::default() }
    }

    /// The arguments from a decoded body of protocol 2 or 1.
    ///
    /// # Errors
    ///
    /// When `body` has the form of neither.
    pub fn from_value(body: Value) -> Result<Self, DecodeError> {
        match body {
            Value::List(parts) => Self::from_parts(parts),
            Value::Map(entries) => Self::from_protocol_1(entries),
            other => Err(not_a_body(format!("a {}", other.kind()))),
        }
    }

    fn from_parts(parts: Vec<Value>) -> Result<Self, DecodeError> {
        let mut parts = parts.into_iter();
        let mut arguments = match (parts.next(), parts.next()) {
            (Some(Value::List(args)), Some(Value::Map(kwargs))) => {
                Self { args, kwargs, embed: Embed::default() }
            }
            _ => return Err(not_a_body("no arguments")),
        };
        match (parts.next(), parts.next()) {
            (None | Some(Value::Null), None) => {}
            (Some(Value::Map(entries)), None) => {
                for (name, value) in entries {
                    arguments.embed.set(&name, value);
                }
            }
            _ => return Err(not_a_body("more than arguments and what follows")),
        }
        Ok(arguments)
    }

    /// Source: `celery/worker/strategy.py`, `proto1_to_proto2`, Celery 5.7.0.
    pub(crate) fn from_protocol_1(entries: Vec<(Box<str>, Value)>) -> Result<Self, DecodeError> {
        let mut arguments = Self::default();
        for (name, value) in entries {
            match (&*name, value) {
                ("args", Value::List(args)) => arguments.args = args,
                ("kwargs", Value::Map(kwargs)) => arguments.kwargs = kwargs,
                ("args" | "kwargs", Value::Null) => {}
                ("args", _) => return Err(not_a_body("positional arguments that are no list")),
                ("kwargs", _) => return Err(not_a_body("keyword arguments that are no dictionary")),
                ("callbacks" | "errbacks" | "chord", value) => arguments.embed.set(&name, value),
                _ => {}
            }
        }
        Ok(arguments)
    }

    /// The body of protocol 2 as a value.
    pub fn into_value(self) -> Value {
        Value::List(vec![Value::List(self.args), Value::Map(self.kwargs), self.embed.into_value()])
    }
}

impl Embed {
    /// Whether nothing happens after the task.
    pub fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
            && self.errbacks.is_empty()
            && self.chain.is_empty()
            && self.chord.is_none()
            && self.other.is_empty()
    }

    fn set(&mut self, name: &str, value: Value) {
        let field = match (name, &value) {
            ("callbacks" | "errbacks" | "chain" | "chord", Value::Null) => return,
            ("callbacks", _) => &mut self.callbacks,
            ("errbacks", _) => &mut self.errbacks,
            ("chain", _) => &mut self.chain,
            ("chord", _) => match Signature::from_value(value.clone()) {
                Ok(chord) => return self.chord = Some(Box::new(chord)),
                Err(_) => return self.other.push((name.into(), value)),
            },
            _ => return self.other.push((name.into(), value)),
        };
        match signatures(&value) {
            Some(signatures) => *field = signatures,
            None => self.other.push((name.into(), value)),
        }
    }

    fn into_value(self) -> Value {
        let list = |signatures: Vec<Signature>| match signatures.is_empty() {
            true => Value::Null,
            false => Value::List(signatures.into_iter().map(Signature::into_value).collect()),
        };
        let known = [
            ("callbacks", list(self.callbacks)),
            ("errbacks", list(self.errbacks)),
            ("chain", list(self.chain)),
            ("chord", self.chord.map_or(Value::Null, |chord| chord.into_value())),
        ];
        let other = self.other;
        let mut entries = Vec::with_capacity(known.len() + other.len());
        for (name, value) in known {
            if !other.iter().any(|(kept, _)| &**kept == name) {
                entries.push((name.into(), value));
            }
        }
        entries.extend(other);
        Value::Map(entries)
    }
}

/// The signatures of a list, if that is what `value` is.
fn signatures(value: &Value) -> Option<Vec<Signature>> {
    value.as_list()?.iter().map(|signature| Signature::from_value(signature.clone()).ok()).collect()
}
