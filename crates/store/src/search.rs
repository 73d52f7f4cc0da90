//! Looking for messages, for people who ask what is waited for.

use celeriac_protocol::{Message, QueueName, TaskId, Timestamp, Value, compression, json};

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Among the failed tasks.
    Failed {
        /// The queue it came from.
        queue: QueueName,
    },
    /// In the schedule.
    Scheduled {
        /// The queue it will be ready in.
        queue: QueueName,
        /// When.
        due: Timestamp,
    },
    /// In its queue: it could be delivered now.
    Ready {
        /// The queue.
        queue: QueueName,
    },
    /// In the hands of a consumer.
    Lent {
        /// The queue it came from.
        queue: QueueName,
        /// The node name of the worker; empty where that is not known, as of Celery's workers.
        worker: String,
    },
}

impl Location {
    /// How near to its end a message is there: more is nearer.
    pub fn nearness(&self) -> u8 {
        match self {
            Self::Failed { .. } => 0,
            Self::Scheduled { .. } => 1,
            Self::Ready { .. } => 2,
            Self::Lent { .. } => 3,
        }
    }

    /// The queue it is in, came from or will be in.
    pub fn queue(&self) -> &QueueName {
        match self {
            Self::Failed { queue }
            | Self::Scheduled { queue, .. }
            | Self::Ready { queue }
            | Self::Lent { queue, .. } => queue,
        }
    }
}

/// The places of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// One for each task asked for, in order.
    pub places: Vec<Option<Location>>,
    /// Whether none was found only because there is none; else the effort was spent before.
    pub is_complete: bool,
}

/// Which messages to look for.
#[derive(Clone, Copy, Debug)]
pub enum Sought<'a> {
    /// Those of these tasks.
    Tasks(&'a [TaskId]),
    /// Those in whose headers or body this text occurs: an id that they have to do with. Bodies that are compressed are
    /// decompressed for this.
    Mention(&'a str),
}

/// What to look for, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Which messages.
    pub sought: Sought<'a>,
    /// The most that are answered.
    pub limit: usize,
    /// The most that are read, where nothing leads to those that are sought.
    pub effort: usize,
}

/// The messages that were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sightings {
    /// These, in no order. One that moves while it is looked for may be here twice.
    pub found: Vec<Sighting>,
    /// Whether these are all; else the limit was reached or the effort spent.
    pub is_complete: bool,
}

/// One message, where it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Where.
    pub place: Location,
    /// Of one that is ready: how many are before it in its queue.
    pub ahead: Option<u64>,
    /// The message.
    pub message: Message,
}

/// A text that is looked for in messages.
pub(crate) struct Needle {
    plain: Vec<u8>,
    /// As JSON writes it, where that is something else.
    escaped: Option<Vec<u8>>,
}

impl Needle {
    pub(crate) fn new(text: &str) -> Self {
        let quoted = json::to_bytes(&Value::from(text));
        let escaped = quoted[1..quoted.len() - 1].to_vec();
        let plain = text.as_bytes().to_vec();
        Self { escaped: (escaped != plain).then_some(escaped), plain }
    }

    /// Whether the text occurs in the headers or in the body.
    pub(crate) fn is_in(&self, message: &Message) -> bool {
        let compression = message.headers.compression.as_deref();
        self.occurs(&message.headers.to_json())
            || compression::plain_body(&message.body, compression, compression::DEFAULT_LIMIT)
                .is_ok_and(|body| self.occurs(&body))
    }

    fn occurs(&self, bytes: &[u8]) -> bool {
        let has = |needle: &Vec<u8>| bytes.windows(needle.len().max(1)).any(|window| window == &needle[..]);
        has(&self.plain) || self.escaped.as_ref().is_some_and(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_headers_and_bodies_as_json_writes_it() {
        let mut message = Message::default();
        message.headers.group = Some("grün".into());
        message.body = r#"[["a-b"], {}, {}]"#.into();
        let is_in = |text| Needle::new(text).is_in(&message);
        assert!(is_in("grün") && is_in("a-b"));
        assert!(!is_in("gruen") && !is_in("a-c"));
        message.headers.compression = Some("application/x-gzip".into());
        message.body = compression::Compression::Zlib.compress(b"a-b").unwrap().into();
        assert!(Needle::new("a-b").is_in(&message));
    }
}
