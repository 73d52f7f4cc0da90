//! Remote control: the commands that Celery's clients broadcast to workers, and the replies to them.
//!
//! Source: `kombu/pidbox.py`, `Mailbox._publish`, `Mailbox._publish_reply` and `Node.handle_message`, kombu 5.7.0.

use crate::{DecodeError, Message, Properties, Serializer, Timestamp, Value, json, msgpack};

/// The largest command, and the largest reply to one, once it is decompressed, in bytes.
pub const LARGEST: usize = 16 << 20;

/// The fan-out exchange of commands, for the setting `control_exchange`.
pub fn exchange(name: &str) -> String {
    format!("{name}.pidbox")
}

/// The direct exchange of replies to commands, for the setting `control_exchange`.
pub fn reply_exchange(name: &str) -> String {
    format!("reply.{name}.pidbox")
}

/// One command to workers.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlCommand {
    /// Its name, such as `ping`.
    pub method: Box<str>,
    /// What it is called with, by name.
    pub arguments: Vec<(Box<str>, Value)>,
    /// To whom it goes.
    pub address: Address,
    /// Where its reply goes, if one is wanted.
    pub reply_to: Option<ReplyTo>,
    /// The logical clock of the sender.
    pub clock: u64,
}

/// To which workers a command goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// To everybody.
    All,
    /// To those of these node names.
    Nodes(Vec<Box<str>>),
    /// To those whose node name matches.
    Matching {
        /// The pattern.
        pattern: Box<str>,
        /// How it is written: `glob` or `pcre`.
        matcher: Box<str>,
    },
}

/// Where a reply goes.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyTo {
    /// The direct exchange.
    pub exchange: Box<str>,
    /// The routing key.
    pub routing_key: Box<str>,
    /// What tells the answers to one question from those to another.
    pub ticket: Value,
    /// How the sender writes, and so reads.
    pub serializer: Serializer,
}

impl ControlCommand {
    /// Reads a command out of its message.
    ///
    /// # Errors
    /// When the content type is not known (pickle never is), or the body is no command.
    pub fn decode(message: &Message) -> Result<Self, DecodeError> {
        let (serializer, body) = message.plain_body(LARGEST)?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(Box::<str>::from);
        let method = text("method").ok_or_else(|| shape("it names no method"))?;
        let arguments = match body.get("arguments") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Map(arguments)) => arguments.clone(),
            Some(other) => return Err(shape(&format!("its arguments are a {}", other.kind()))),
        };
        let clock = message.headers.other.iter().find(|(name, _)| &**name == "clock");
        let clock = clock.and_then(|(_, clock)| u64::try_from(clock.as_i64()?).ok()).unwrap_or(0);
        let (address, reply_to) = (Address::of(&body), ReplyTo::of(&body, serializer));
        Ok(Self { method, arguments, address, reply_to, clock })
    }

    /// What it is kept under by the workers that have obeyed it, so that it holds after a restart; a later one of the same
    /// name takes its place. Nothing for a command that only holds while the worker runs.
    pub fn kept_as(&self) -> Option<Box<str>> {
        let (what, argument) = match &*self.method {
            "rate_limit" => ("rate_limit", "task_name"),
            "time_limit" => ("time_limit", "task_name"),
            "add_consumer" | "cancel_consumer" => ("consumer", "queue"),
            "pause" | "resume" => ("pause", "queue"),
            _ => return None,
        };
        let of = self.argument(argument)?.as_str()?;
        Some(format!("{what} {of}").into())
    }

    /// The command as it is kept: what to do, with which arguments.
    pub fn to_kept(&self) -> Value {
        let arguments = Value::Map(self.arguments.clone());
        Value::Map(vec![("method".into(), (*self.method).into()), ("arguments".into(), arguments)])
    }

    /// A command that was kept; nothing if this is none.
    pub fn of_kept(kept: &Value) -> Option<Self> {
        let method = kept.get("method")?.as_str()?.into();
        let Value::Map(arguments) = kept.get("arguments")?.clone() else { return None };
        Some(Self { method, arguments, address: Address::All, reply_to: None, clock: 0 })
    }

    /// The message with this command, as JSON; `expires` is when its sender does not wait for replies any more.
    pub fn message(&self, expires: Option<Timestamp>) -> Message {
        let [destination, pattern, matcher] = self.address.fields();
        let mut body = vec![
            ("method".into(), Value::String(self.method.clone())),
            ("arguments".into(), Value::Map(self.arguments.clone())),
            ("destination".into(), destination),
            ("pattern".into(), pattern),
            ("matcher".into(), matcher),
        ];
        if let Some(ReplyTo { exchange, routing_key, ticket, .. }) = &self.reply_to {
            let place = [("exchange", exchange), ("routing_key", routing_key)];
            let place = place.map(|(name, value)| (name.into(), Value::String(value.clone())));
            body.push(("ticket".into(), ticket.clone()));
            body.push(("reply_to".into(), Value::Map(place.into())));
        }
        let mut message = transient(Serializer::Json, json::to_bytes(&Value::Map(body)));
        let expires = expires.map_or(Value::Int(0), |at| Value::Float(at.as_micros() as f64 / 1e6));
        message.headers.other = vec![("clock".into(), self.clock.into()), ("expires".into(), expires)];
        message
    }

    /// An argument of this name, unless it is `None`.
    pub fn argument(&self, name: &str) -> Option<&Value> {
        let of_name = self.arguments.iter().find(|(argument, _)| &**argument == name);
        of_name.map(|(_, value)| value).filter(|value| !value.is_null())
    }
}

fn shape(reason: &str) -> DecodeError {
    DecodeError::shape("control command", reason)
}

/// A message that no server keeps on disk.
fn transient(serializer: Serializer, body: Vec<u8>) -> Message {
    Message {
        properties: Properties { delivery_mode: Some(1), priority: None, ..Properties::default() },
        content_type: serializer.content_type().into(),
        content_encoding: serializer.content_encoding().into(),
        body: body.into(),
        ..Message::default()
    }
}

impl Address {
    /// As a command has it: destination, pattern and matcher.
    fn fields(&self) -> [Value; 3] {
        match self {
            Self::All => [Value::Null, Value::Null, Value::Null],
            Self::Nodes(nodes) => {
                let nodes = nodes.iter().cloned().map(Value::String).collect();
                [Value::List(nodes), Value::Null, Value::Null]
            }
            Self::Matching { pattern, matcher } => {
                [Value::Null, Value::String(pattern.clone()), Value::String(matcher.clone())]
            }
        }
    }

    fn of(body: &Value) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (body.get("destination"), text("pattern"), text("matcher")) {
            (Some(Value::List(nodes)), ..) if !nodes.is_empty() => {
                Self::Nodes(nodes.iter().filter_map(Value::as_str).map(Into::into).collect())
            }
            (Some(Value::String(node)), ..) if !node.is_empty() => Self::Nodes(vec![node.clone()]),
            (_, Some(pattern), Some(matcher)) => {
                Self::Matching { pattern: pattern.into(), matcher: matcher.into() }
            }
            _ => Self::All,
        }
    }
}

impl ReplyTo {
    fn of(body: &Value, serializer: Serializer) -> Option<Self> {
        let reply_to = body.get("reply_to")?;
        let text = |name: &str| reply_to.get(name).and_then(Value::as_str).map(Box::<str>::from);
        let ticket = body.get("ticket").cloned().unwrap_or_default();
        Some(Self { exchange: text("exchange")?, routing_key: text("routing_key")?, ticket, serializer })
    }

    /// The message with the reply of the worker `node`, whose logical clock stands here.
    ///
    /// What MessagePack has no form for goes as JSON, which every client of Celery reads unless it was told not to.
    pub fn message(&self, node: &str, reply: Value, clock: u64) -> Message {
        let body = Value::Map(vec![(node.into(), reply)]);
        let packed = match self.serializer {
            Serializer::MessagePack => msgpack::to_bytes(&body).ok(),
            Serializer::Json => None,
        };
        let (serializer, body) = match packed {
            Some(packed) => (Serializer::MessagePack, packed),
            None => (Serializer::Json, json::to_bytes(&body)),
        };
        let mut message = transient(serializer, body);
        message.headers.other = vec![("ticket".into(), self.ticket.clone()), ("clock".into(), clock.into())];
        message
    }
}

/// What one worker replied.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Its node name.
    pub node: Box<str>,
    /// What it replied.
    pub value: Value,
    /// To which question.
    pub ticket: Value,
}

impl Reply {
    /// Reads a reply out of its message.
    ///
    /// # Errors
    /// When the content type is not known (pickle never is), or the body is no reply.
    pub fn decode(message: &Message) -> Result<Self, DecodeError> {
        let (_, body) = message.plain_body(LARGEST)?;
        let ticket = message.headers.other.iter().find(|(name, _)| &**name == "ticket");
        let ticket = ticket.map(|(_, ticket)| ticket.clone()).unwrap_or_default();
        match body {
            Value::Map(mut replies) if replies.len() == 1 => {
                let (node, value) = replies.remove(0);
                Ok(Self { node, value, ticket })
            }
            _ => Err(DecodeError::shape("control reply", "it is not from one node")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(body: &str) -> Result<ControlCommand, DecodeError> {
        let mut message = Message {
            content_type: "application/json".into(),
            body: body.as_bytes().to_vec().into(),
            ..Message::default()
        };
        message.headers.other = vec![("clock".into(), 7.into()), ("expires".into(), Value::Float(1.5))];
        ControlCommand::decode(&message)
    }

    #[test]
    fn a_command_is_read_as_celery_writes_it() {
        let ping = r#"{"method": "ping", "arguments": {"a": null, "b": 1}, "destination": null, "pattern": null, "matcher": null,
            "ticket": "t", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "k"}}"#;
        let ping = command(ping).unwrap();
        assert_eq!((&*ping.method, &ping.address, ping.clock), ("ping", &Address::All, 7));
        assert_eq!((ping.argument("a"), ping.argument("b")), (None, Some(&Value::Int(1))));
        let reply_to = ping.reply_to.unwrap();
        assert_eq!((&*reply_to.exchange, &*reply_to.routing_key), ("reply.celery.pidbox", "k"));
        let reply = reply_to.message("w@h", "pong".into(), 9);
        assert_eq!(&*reply.body, br#"{"w@h": "pong"}"#);
        assert_eq!(reply.headers.other, [("ticket".into(), "t".into()), ("clock".into(), Value::Int(9))]);
    }

    #[test]
    fn a_kept_command_is_the_one_that_was_obeyed() {
        let limit =
            r#"{"method": "rate_limit", "arguments": {"task_name": "tasks.add", "rate_limit": "10/m"}}"#;
        let limit = command(limit).unwrap();
        assert_eq!(limit.kept_as().as_deref(), Some("rate_limit tasks.add"));
        assert_eq!(ControlCommand::of_kept(&limit.to_kept()).unwrap().arguments, limit.arguments);
        assert_eq!(ControlCommand::of_kept(&Value::Null), None);
        let kept_as = |method: &str| {
            command(&format!(r#"{{"method": "{method}", "arguments": {{"queue": "q"}}}}"#)).unwrap().kept_as()
        };
        assert_eq!(kept_as("pause"), kept_as("resume"));
        assert_eq!(kept_as("add_consumer"), kept_as("cancel_consumer"));
        assert_eq!((kept_as("ping"), kept_as("rate_limit")), (None, None));
    }

    #[test]
    fn a_command_is_read_back_as_it_was_written() {
        let reply_to = ReplyTo {
            exchange: reply_exchange("celery").into(),
            routing_key: "k".into(),
            ticket: "t".into(),
            serializer: Serializer::Json,
        };
        let matching = Address::Matching { pattern: "w*".into(), matcher: "glob".into() };
        for (address, reply_to) in [
            (Address::All, Some(reply_to)),
            (Address::Nodes(vec!["a@h".into(), "b@h".into()]), None),
            (matching, None),
        ] {
            let arguments = vec![("n".into(), Value::Int(2))];
            let command = ControlCommand { method: "m".into(), arguments, address, reply_to, clock: 3 };
            let message = command.message(Some(Timestamp::from_micros(1_500_000)));
            assert_eq!(ControlCommand::decode(&message).unwrap(), command);
            assert_eq!(message.headers.other[1], ("expires".into(), Value::Float(1.5)));
        }
    }

    #[test]
    fn a_reply_is_read_back_as_it_was_written() {
        for serializer in [Serializer::Json, Serializer::MessagePack] {
            let to =
                ReplyTo { exchange: "e".into(), routing_key: "k".into(), ticket: "t".into(), serializer };
            let reply = Reply::decode(&to.message("w@h", Value::Int(1), 9)).unwrap();
            assert_eq!(reply, Reply { node: "w@h".into(), value: Value::Int(1), ticket: "t".into() });
        }
        let nobody = Message {
            content_type: "application/json".into(),
            body: b"{}".to_vec().into(),
            ..Message::default()
        };
        assert!(Reply::decode(&nobody).is_err());
    }

    #[test]
    fn a_command_goes_to_whom_it_names() {
        let address = |fields: &str| command(&format!(r#"{{"method": "m", {fields}}}"#)).unwrap().address;
        assert_eq!(address(r#""destination": ["a", "b"]"#), Address::Nodes(vec!["a".into(), "b".into()]));
        assert_eq!(address(r#""destination": []"#), Address::All);
        let matching = Address::Matching { pattern: "w*".into(), matcher: "glob".into() };
        assert_eq!(address(r#""pattern": "w*", "matcher": "glob""#), matching);
        assert_eq!(address(r#""pattern": "w*""#), Address::All);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for body in ["[]", "{}", r#"{"method": 1}"#, r#"{"method": "m", "arguments": [1]}"#, "{"] {
            assert!(command(body).is_err(), "{body}");
        }
        let pickle = Message { content_type: "application/x-python-serialize".into(), ..Message::default() };
        assert!(matches!(ControlCommand::decode(&pickle), Err(DecodeError::ContentType { .. })));
    }
}
