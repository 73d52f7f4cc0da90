//! Task protocol 1, in which everything is in the body.

use crate::{
    Arguments, DecodeError, Headers, Message, Serializer, Value, body, compression, json, msgpack, repr,
};

impl Message {
    /// Whether this is a message of task protocol 2, with the task in a header.
    ///
    /// Source: `celery/worker/consumer/consumer.py`, `Consumer.create_task_handler`, Celery 5.7.0.
    pub fn is_protocol_2(&self) -> bool {
        self.headers.task.is_some()
    }

    /// The same call in task protocol 2, if it is of protocol 1; else the message as it is.
    ///
    /// The arguments are encoded again, without compression.
    ///
    /// Source: `celery/worker/strategy.py`, `proto1_to_proto2` and `hybrid_to_proto2`, Celery 5.7.0.
    ///
    /// # Errors
    ///
    /// When the body cannot be decoded, or is not a call of protocol 1.
    pub fn into_protocol_2(self) -> Result<Self, DecodeError> {
        if self.is_protocol_2() {
            return Ok(self);
        }
        let compression = self.headers.compression.as_deref();
        let plain = compression::plain_body(&self.body, compression, compression::DEFAULT_LIMIT)?;
        let serializer = Serializer::from_name(&self.content_type)
            .ok_or_else(|| DecodeError::ContentType { content_type: self.content_type.clone() })?;
        let decoded = match serializer {
            Serializer::Json => json::parse(&plain)?,
            Serializer::MessagePack => msgpack::parse(&plain)?,
        };
        let Value::Map(entries) = decoded else {
            return Err(not_a_task("a body without names, and no task in the headers"));
        };
        let (of_call, of_headers) = split(entries);
        let arguments = Arguments::from_protocol_1(of_call)?;
        let headers = headers(of_headers, self.headers, &arguments)?;
        let body = body::encode(&arguments, serializer, None)
            .map_err(|_| not_a_task("arguments that cannot be encoded again"))?;
        Ok(Self { headers, body, ..self })
    }
}

type Entries = Vec<(Box<str>, Value)>;

/// Parts the entries into those that belong in a body of protocol 2, and those that belong in headers.
fn split(entries: Entries) -> (Entries, Entries) {
    entries
        .into_iter()
        .partition(|(name, _)| matches!(&**name, "args" | "kwargs" | "callbacks" | "errbacks" | "chord"))
}

fn not_a_task(reason: &'static str) -> DecodeError {
    DecodeError::shape("task message", reason)
}

/// The headers of protocol 2 from the entries of the body, under those that the message has.
fn headers(mut entries: Entries, own: Headers, arguments: &Arguments) -> Result<Headers, DecodeError> {
    // `taskset` is the older name of the group, and wins as in Celery; `utc` says what every offset-less time is.
    if let Some((_, taskset)) = entries.iter().find(|(name, _)| &**name == "taskset").cloned() {
        entries.retain(|(name, _)| &**name != "group");
        entries.push(("group".into(), taskset));
    }
    entries.retain(|(name, value)| match &**name {
        "taskset" => false,
        "utc" => *value == Value::Bool(false),
        _ => true,
    });
    let mut headers = Headers::from_entries(entries);
    headers.lang = own.lang.or(headers.lang);
    headers.id = own.id.or(headers.id);
    headers.shadow = own.shadow.or(headers.shadow);
    headers.group = own.group.or(headers.group);
    headers.root_id = own.root_id.or(headers.root_id);
    headers.parent_id = own.parent_id.or(headers.parent_id);
    headers.origin = own.origin.or(headers.origin);
    headers.argsrepr = Some(repr::args(&arguments.args, repr::LIMIT).into());
    headers.kwargsrepr = Some(repr::kwargs(&arguments.kwargs, repr::LIMIT).into());
    headers.other.extend(own.other);
    if headers.task.is_none() || headers.id.is_none() {
        return Err(not_a_task("no task or no id"));
    }
    Ok(headers)
}
