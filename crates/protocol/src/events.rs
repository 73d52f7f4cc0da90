//! Events: what workers tell those who watch them.
//!
//! An event is a map with a `type` such as `task-started`. Events of workers are sent singly, those of tasks as lists.
//!
//! Source: `celery/events/dispatcher.py`, `EventDispatcher`, and `celery/events/event.py`, Celery 5.7.0.

use std::time::Duration;

use crate::json::{Key, ObjectWriter, write_decimal, write_int, write_str};
use crate::{DecodeError, Message, Properties, Serializer, Timestamp, Value, key};

/// The largest message with events that is read, once it is decompressed, in bytes.
const LARGEST: usize = 16 << 20;

/// The routing key of a list of events of this group, such as `task`.
pub fn routing_key_of_many(group: &str) -> String {
    format!("{group}.multi")
}

/// The routing key of one event of this type.
pub fn routing_key(kind: &str) -> String {
    kind.replace('-', ".")
}

/// What every event of a process says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    hostname: Box<str>,
    /// What stands between the type and the clock of each of its events, in JSON.
    fields: Box<[u8]>,
}

impl Sender {
    /// A process with this node name and process id, so many hours behind UTC.
    pub fn new(hostname: &str, pid: u32, utc_offset: i64) -> Self {
        let mut fields = Vec::new();
        let mut object = ObjectWriter::resume(&mut fields);
        object.text(key!("hostname"), hostname);
        object.value(key!("utcoffset"), &Value::Float(utc_offset as f64));
        write_int(object.key(key!("pid")), i64::from(pid));
        Self { hostname: hostname.into(), fields: fields.into() }
    }
}

/// Events of one sender on their way into a message.
#[derive(Debug, Default)]
pub struct EventList {
    json: Vec<u8>,
    length: usize,
    /// Where the last one begins, unless that is not known.
    last: Option<usize>,
}

const BEFORE_THE_FIRST: &[u8] = b"[";
const BETWEEN_TWO: &[u8] = b", ";

impl EventList {
    /// With room for so many bytes before it grows.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { json: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many bytes they are so far.
    pub fn size(&self) -> usize {
        self.json.len()
    }

    /// Adds an event of this type, which happened at `at`; `clock` is the logical clock of its sender.
    pub fn add(&mut self, kind: &str, sender: &Sender, clock: u64, at: Timestamp) -> EventWriter<'_> {
        self.json.extend_from_slice(if self.length == 0 { BEFORE_THE_FIRST } else { BETWEEN_TWO });
        self.length += 1;
        self.last = Some(self.json.len());
        self.json.extend_from_slice(b"{\"type\": ");
        write_str(&mut self.json, kind);
        self.json.extend_from_slice(&sender.fields);
        let mut object = ObjectWriter::resume(&mut self.json);
        write_int(object.key(key!("clock")), i64::try_from(clock).unwrap_or(i64::MAX));
        match u64::try_from(at.as_micros()) {
            Ok(micros) => write_decimal(object.key(key!("timestamp")), micros, 6),
            Err(_) => object.value(key!("timestamp"), &Value::Float(at.as_micros() as f64 / 1e6)),
        }
        EventWriter(object)
    }

    /// Takes the one that was added last into a list of its own. Nothing if it is the only one, or has been taken.
    pub fn split_last(&mut self) -> Option<Self> {
        let begins = self.last.filter(|_| self.length > 1)?;
        let json = [BEFORE_THE_FIRST, &self.json[begins..]].concat();
        self.json.truncate(begins - BETWEEN_TWO.len());
        self.json.shrink_to_fit();
        self.length -= 1;
        self.last = None;
        Some(Self { json, length: 1, last: Some(BEFORE_THE_FIRST.len()) })
    }

    /// The message with all of them, as a list.
    pub fn into_message(mut self, sender: &Sender) -> Message {
        self.json.extend_from_slice(if self.length == 0 { b"[]" } else { b"]" });
        message(self.json, sender)
    }

    /// The message with the only one.
    pub fn into_single_message(mut self, sender: &Sender) -> Message {
        if !self.json.is_empty() {
            self.json.remove(0);
        }
        message(self.json, sender)
    }
}

fn message(json: Vec<u8>, sender: &Sender) -> Message {
    let mut message = Message {
        properties: Properties { delivery_mode: Some(1), priority: None, ..Properties::default() },
        content_type: Serializer::Json.content_type().into(),
        content_encoding: Serializer::Json.content_encoding().into(),
        body: json.into(),
        ..Message::default()
    };
    message.headers.other = vec![("hostname".into(), Value::String(sender.hostname.clone()))];
    message
}

/// Writes the fields of one event. It is complete with [`EventWriter::end`].
pub struct EventWriter<'a>(ObjectWriter<'a>);

impl EventWriter<'_> {
    /// A field of text.
    #[must_use]
    #[inline]
    pub fn text(mut self, name: Key, text: &str) -> Self {
        self.0.text(name, text);
        self
    }

    /// A field of text, or `None`.
    #[must_use]
    #[inline]
    pub fn maybe(self, name: Key, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self.value(name, &Value::Null),
        }
    }

    /// A time in seconds.
    #[must_use]
    #[inline]
    pub fn seconds(mut self, name: Key, time: Duration) -> Self {
        match u64::try_from(time.as_nanos()) {
            Ok(nanos) => write_decimal(self.0.key(name), nanos, 9),
            Err(_) => self.0.value(name, &Value::Float(time.as_secs_f64())),
        }
        self
    }

    /// A field of any kind.
    #[must_use]
    #[inline]
    pub fn value(mut self, name: Key, value: &Value) -> Self {
        self.0.value(name, value);
        self
    }

    /// There are no more.
    pub fn end(self) {
        self.0.end();
    }
}

/// The events in a message, in their order: maps with a `type`.
///
/// # Errors
/// When the content type is not known (pickle never is), or the body is neither an event nor a list of them.
pub fn decode(message: &Message) -> Result<Vec<Value>, DecodeError> {
    let (_, body) = message.plain_body(LARGEST)?;
    let events = match body {
        Value::List(events) => events,
        event => vec![event],
    };
    let is_event = |event: &Value| event.get("type").and_then(Value::as_str).is_some();
    match events.iter().find(|event| !is_event(event)) {
        None => Ok(events),
        Some(other) => Err(DecodeError::shape("event", format!("a {} without a type", other.kind()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender {
        Sender::new("w@h", 7, -2)
    }

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_micros((seconds * 1e6) as i64)
    }

    #[test]
    fn events_come_back_as_they_went() {
        let mut list = EventList::default();
        list.add("task-started", &sender(), 3, at(1.5)).text(key!("uuid"), "é").end();
        list.add("task-revoked", &sender(), 4, at(2.5))
            .maybe(key!("signum"), None)
            .value(key!("expired"), &true.into())
            .end();
        assert_eq!(list.len(), 2);
        let message = list.into_message(&sender());
        let events = decode(&message).unwrap();
        let names: Vec<_> = events.iter().map(|event| event.get("type").unwrap().as_str().unwrap()).collect();
        assert_eq!(names, ["task-started", "task-revoked"]);
        assert_eq!(events[0].get("uuid").unwrap().as_str(), Some("é"));
        assert_eq!(events[0].get("utcoffset"), Some(&Value::Float(-2.0)));
        assert_eq!(events[1].get("timestamp"), Some(&Value::Float(2.5)));
        assert_eq!(events[1].get("signum"), Some(&Value::Null));
        assert_eq!(message.headers.other, [("hostname".into(), "w@h".into())]);
        assert_eq!(message.properties.delivery_mode, Some(1));
    }

    #[test]
    fn one_event_is_no_list() {
        let mut list = EventList::default();
        list.add("worker-online", &sender(), 1, at(1.0)).end();
        let message = list.into_single_message(&sender());
        assert!(message.body.starts_with(b"{\"type\": \"worker-online\""), "{:?}", message.body);
        assert_eq!(decode(&message).unwrap().len(), 1);
    }

    #[test]
    fn the_last_event_may_be_taken_into_a_list_of_its_own() {
        let kinds = |list: EventList| -> Vec<String> {
            let kind = |event: &Value| event.get("type").unwrap().as_str().unwrap().to_owned();
            decode(&list.into_message(&sender())).unwrap().iter().map(kind).collect()
        };
        let mut list = EventList::default();
        assert!(list.split_last().is_none());
        list.add("a", &sender(), 1, at(1.0)).end();
        assert!(list.split_last().is_none(), "it is alone");
        list.add("b", &sender(), 2, at(2.0)).end();
        list.add("c", &sender(), 3, at(3.0)).end();
        let mut last = list.split_last().unwrap();
        assert!(list.split_last().is_none() && last.split_last().is_none());
        assert_eq!((list.len(), last.len()), (2, 1));
        list.add("d", &sender(), 4, at(4.0)).end();
        last.add("e", &sender(), 5, at(5.0)).end();
        assert_eq!(
            (kinds(list), kinds(last)),
            (["a", "b", "d"].map(String::from).to_vec(), ["c", "e"].map(String::from).to_vec())
        );
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for body in ["3", "[3]", "{\"type\": 3}", "[{\"type\": \"a\"}, {}]", "{", ""] {
            let message = Message {
                content_type: "application/json".into(),
                content_encoding: "utf-8".into(),
                body: body.to_owned().into(),
                ..Message::default()
            };
            assert!(decode(&message).is_err(), "{body}");
        }
        let pickled = Message { content_type: "application/x-python-serialize".into(), ..Message::default() };
        assert!(decode(&pickled).is_err());
    }

    #[test]
    fn routing_keys_are_those_of_celery() {
        assert_eq!(routing_key("worker-online"), "worker.online");
        assert_eq!(routing_key_of_many("task"), "task.multi");
    }
}
