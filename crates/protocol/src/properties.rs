//! The AMQP properties of a message, read and written in one pass.

use crate::json::{ObjectWriter, Parser, write_int};
use crate::{DecodeError, Value, key};

/// AMQP properties of a message.
///
/// Source: `kombu/messaging.py`, `Producer.publish`, and `kombu/transport/virtual/base.py`, kombu 5.7.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// The id of the call again.
    pub correlation_id: Option<Box<str>>,
    /// The queue for replies (rpc results).
    pub reply_to: Option<Box<str>>,
    /// 0 (lowest) to 9 (highest), as our API and AMQP count; stores translate.
    pub priority: Option<u8>,
    /// 1 for messages that may die with the broker, else 2.
    pub delivery_mode: Option<u8>,
    /// Milliseconds until the broker may drop the message, as text.
    pub expiration: Option<Box<str>>,
    /// Every other property, `delivery_info` among them.
    pub other: Vec<(Box<str>, Value)>,
}

const KNOWN: [&str; 5] = ["correlation_id", "reply_to", "priority", "delivery_mode", "expiration"];

impl Properties {
    /// Reads the properties from their JSON object.
    ///
    /// # Errors
    ///
    /// When the bytes are not a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, DecodeError> {
        let mut parser = Parser::new(json)?;
        let properties = Self::read(&mut parser)?;
        parser.end()?;
        Ok(properties)
    }

    /// The properties as JSON, without those that are absent.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.write(&mut out);
        out
    }

    /// Reads the properties; their `{` comes next. A `null` is no properties at all.
    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        if parser.take_null() {
            return Ok(properties);
        }
        parser.object(|parser, name| {
            let Some(name) = name.as_str() else {
                return Err(DecodeError::shape("property", "a name with a lone surrogate"));
            };
            properties.set(name, parser.value()?);
            Ok(())
        })?;
        Ok(properties)
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        match (name, value) {
            ("correlation_id", Value::String(text)) => self.correlation_id = Some(text),
            ("reply_to", Value::String(text)) => self.reply_to = Some(text),
            ("expiration", Value::String(text)) => self.expiration = Some(text),
            ("priority", Value::Int(priority @ 0..=255)) => self.priority = Some(priority as u8),
            ("delivery_mode", Value::Int(mode @ 0..=255)) => self.delivery_mode = Some(mode as u8),
            (name, Value::Null) if KNOWN.contains(&name) => {}
            (name, value) => self.other.push((name.into(), value)),
        }
    }

    /// Appends [`Properties::to_json`].
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out);
        self.write_entries(&mut object);
        object.end();
    }

    /// Appends the entries of the JSON object, in the order in which kombu has them.
    ///
    /// Source: `kombu/messaging.py`, `Producer.publish`, kombu 5.7.0.
    pub(crate) fn write_entries(&self, object: &mut ObjectWriter<'_>) {
        self.write_entries_but_priority(object);
        if let Some(priority) = self.priority {
            write_int(object.key(key!("priority")), priority.into());
        }
    }

    /// Appends the entries without the priority, which virtual transports put elsewhere.
    pub(crate) fn write_entries_but_priority(&self, object: &mut ObjectWriter<'_>) {
        let text = |object: &mut ObjectWriter<'_>, name, text: &Option<Box<str>>| {
            if let Some(text) = text {
                object.text(name, text);
            }
        };
        text(object, key!("correlation_id"), &self.correlation_id);
        text(object, key!("reply_to"), &self.reply_to);
        for (name, value) in &self.other {
            object.entry(name, value);
        }
        if let Some(mode) = self.delivery_mode {
            write_int(object.key(key!("delivery_mode")), mode.into());
        }
        text(object, key!("expiration"), &self.expiration);
    }
}
