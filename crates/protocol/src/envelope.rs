//! The envelope in which kombu's virtual transports (Redis, SQS, ...) keep a message: one JSON object.

use base64_simd::STANDARD;
use bytes::Bytes;

use crate::json::{ObjectWriter, Parser, Text, write_int};
use crate::message::text;
use crate::{DecodeError, Headers, Message, Properties, Value, key};

/// A message with what a virtual transport adds to its properties.
///
/// Sources: `kombu/transport/virtual/base.py`, `Channel.prepare_message`, `Channel._inplace_augment_message`, `Message`,
/// kombu 5.7.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// The message, its `properties` without the parts that are fields here.
    pub message: Message,
    /// `delivery_info.exchange`: where it was published; empty for the default exchange.
    pub exchange: Box<str>,
    /// `delivery_info.routing_key`: with the default exchange, the name of the queue.
    pub routing_key: Box<str>,
    /// Every other entry of `delivery_info`.
    pub delivery_info: Vec<(Box<str>, Value)>,
    /// `delivery_tag`: a UUID that names this copy of the message until it is settled.
    pub delivery_tag: Box<str>,
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// When the bytes are not a JSON object of that form, or the body is not in the encoding that it names.
    pub fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let mut envelope = Self::default();
        let mut body = None;
        let mut parser = Parser::new(json)?;
        parser.object(|parser, name| {
            match name.as_str() {
                Some("body") if parser.peek() == Some(b'"') => body = Some(parser.string()?),
                Some("headers") => envelope.message.headers = Headers::read(parser)?,
                Some("properties") => envelope.message.properties = Properties::read(parser)?,
                Some("content-type") => envelope.message.content_type = text(parser)?,
                Some("content-encoding") => envelope.message.content_encoding = text(parser)?,
                _ => drop(parser.value()?),
            }
            Ok(())
        })?;
        parser.end()?;
        let body_encoding = envelope.take_delivery();
        if let Some(body) = body {
            envelope.message.body = decode_body(&body, body_encoding.as_deref())?;
        }
        Ok(envelope)
    }

    /// Moves what the transport added from the properties into the fields; returns `body_encoding`.
    fn take_delivery(&mut self) -> Option<Box<str>> {
        let mut body_encoding = None;
        for (name, value) in std::mem::take(&mut self.message.properties.other) {
            match (&*name, value) {
                ("delivery_tag", Value::String(tag)) => self.delivery_tag = tag,
                ("delivery_info", Value::Map(entries)) => self.set_delivery_info(entries),
                ("body_encoding", Value::String(encoding)) => body_encoding = Some(encoding),
                ("body_encoding", Value::Null) => {}
                (_, value) => self.message.properties.other.push((name, value)),
            }
        }
        body_encoding
    }

    fn set_delivery_info(&mut self, entries: Vec<(Box<str>, Value)>) {
        for (name, value) in entries {
            match (&*name, value) {
                ("exchange", Value::String(exchange)) => self.exchange = exchange,
                ("routing_key", Value::String(key)) => self.routing_key = key,
                (_, value) => self.delivery_info.push((name, value)),
            }
        }
    }

    /// The envelope as kombu writes it, its body in base64.
    pub fn encode(&self) -> Vec<u8> {
        let message = &self.message;
        let mut out = Vec::with_capacity(1024 + message.body.len() / 3 * 4);
        let mut object = ObjectWriter::new(&mut out);
        write_base64(object.key(key!("body")), &message.body);
        object.text(key!("content-encoding"), &message.content_encoding);
        object.text(key!("content-type"), &message.content_type);
        message.headers.write(object.key(key!("headers")));
        let mut properties = ObjectWriter::new(object.key(key!("properties")));
        self.write_properties(&mut properties);
        properties.end();
        object.end();
        out
    }

    fn write_properties(&self, object: &mut ObjectWriter<'_>) {
        // kombu adds the priority after the delivery info.
        self.message.properties.write_entries_but_priority(object);
        let mut info = ObjectWriter::new(object.key(key!("delivery_info")));
        info.text(key!("exchange"), &self.exchange);
        info.text(key!("routing_key"), &self.routing_key);
        for (name, value) in &self.delivery_info {
            info.entry(name, value);
        }
        info.end();
        if let Some(priority) = self.message.properties.priority {
            write_int(object.key(key!("priority")), priority.into());
        }
        object.text(key!("body_encoding"), "base64");
        object.text(key!("delivery_tag"), &self.delivery_tag);
    }
}

/// Appends bytes in base64 as text, in which nothing need be escaped.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    STANDARD.encode_append(bytes, out);
    out.push(b'"');
}

/// The bytes of a body: text as it is, unless it is in base64.
fn decode_body(body: &Text<'_>, encoding: Option<&str>) -> Result<Bytes, DecodeError> {
    let Some(text) = body.as_str() else {
        return Err(DecodeError::shape("envelope", "a body with lone surrogates"));
    };
    match encoding {
        Some("base64") => match STANDARD.decode_to_vec(text) {
            Ok(bytes) => Ok(bytes.into()),
            Err(_) => Err(DecodeError::shape("envelope", "a body that is not base64")),
        },
        None => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(utf_8) if utf_8.eq_ignore_ascii_case("utf-8") => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(other) => Err(DecodeError::shape("envelope", format!("a body in the encoding {other:?}"))),
    }
}
