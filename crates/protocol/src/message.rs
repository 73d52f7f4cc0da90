//! A message: headers, properties and an opaque body.

use bytes::Bytes;

use crate::json::{self, ObjectWriter, Parser};
use crate::{DecodeError, Headers, Properties, Serializer, Value, compression, key, msgpack};

/// One message as a broker carries it.
///
/// The body stays encoded until the task that it is for decodes its arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Task headers, known and unknown.
    pub headers: Headers,
    /// AMQP properties.
    pub properties: Properties,
    /// How the body is serialized, such as `application/json`.
    pub content_type: Box<str>,
    /// The character set or coding of the body: `utf-8` or `binary`.
    pub content_encoding: Box<str>,
    /// The serialized body, still compressed if the `compression` header names a compression.
    pub body: Bytes,
}

const JSON: &str = "application/json";
const UTF_8: &str = "utf-8";

impl Message {
    /// Everything but the body, in the form that our own stores keep: JSON with the names of kombu's envelope.
    ///
    /// What is absent or at its default is left out; `content-type` and `content-encoding` are those of JSON then.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut object = ObjectWriter::new(&mut out);
        self.headers.write_present(object.key(key!("headers")));
        self.properties.write(object.key(key!("properties")));
        if &*self.content_type != JSON {
            object.text(key!("content-type"), &self.content_type);
        }
        if &*self.content_encoding != UTF_8 {
            object.text(key!("content-encoding"), &self.content_encoding);
        }
        object.end();
        out
    }

    /// The body as a value, and how it was serialized, of a message that is no call; at most so large once it is decompressed.
    ///
    /// # Errors
    /// When the content type is not known (pickle never is), or the body is not what it says.
    pub(crate) fn plain_body(&self, largest: usize) -> Result<(Serializer, Value), DecodeError> {
        let plain = compression::plain_body(&self.body, self.headers.compression.as_deref(), largest)?;
        let serializer = Serializer::from_name(&self.content_type)
            .ok_or_else(|| DecodeError::ContentType { content_type: self.content_type.clone() })?;
        let body = match serializer {
            Serializer::Json => json::parse(&plain)?,
            Serializer::MessagePack => msgpack::parse(&plain)?,
        };
        Ok((serializer, body))
    }

    /// A message from its [head](Self::encode_head) and its body.
    ///
    /// # Errors
    ///
    /// When `head` is not a JSON object of that form.
    pub fn decode(head: &[u8], body: Bytes) -> Result<Self, DecodeError> {
        let mut message =
            Self { content_type: JSON.into(), content_encoding: UTF_8.into(), body, ..Self::default() };
        let mut parser = Parser::new(head)?;
        parser.object(|parser, name| {
            match name.as_str() {
                Some("headers") => message.headers = Headers::read(parser)?,
                Some("properties") => message.properties = Properties::read(parser)?,
                Some("content-type") => message.content_type = text(parser)?,
                Some("content-encoding") => message.content_encoding = text(parser)?,
                _ => drop(parser.value()?),
            }
            Ok(())
        })?;
        parser.end()?;
        Ok(message)
    }
}

/// Reads text, or nothing for `null`.
pub(crate) fn text(parser: &mut Parser<'_>) -> Result<Box<str>, DecodeError> {
    match parser.value()? {
        Value::String(text) => Ok(text),
        Value::Null => Ok("".into()),
        other => Err(DecodeError::shape("message", format!("a {} where text belongs", other.kind()))),
    }
}
