//! Stamps by which tasks are revoked: headers of their messages, which [`canvas`](celeriac_app::canvas) puts on whole workflows.

use celeriac_protocol::{Headers, TaskId, Value, json, repr};

/// A stamp that revokes every task that bears it.
///
/// The store keeps it as a revocation, under a name that no call has: so it survives what revocations survive, expires as
/// they do, and comes to every worker in the same way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stamp {
    header: Box<str>,
    value: Value,
}

/// What the names of stamps begin with, in the store. Ids of calls are made by producers, who do not.
const PREFIX: &str = "celeriac-stamp:";

/// The most stamps of one message that are asked about.
const MOST: usize = 100;

impl Stamp {
    pub(crate) fn new(header: &str, value: Value) -> Self {
        Self { header: header.into(), value }
    }

    /// The stamps of a message.
    ///
    /// Source: `Request.stamps` and `Request.revoked`, `celery/worker/request.py`, Celery 5.7.0.
    pub(crate) fn of(headers: &Headers) -> Vec<Self> {
        let header =
            |name: &str| headers.other.iter().find(|(other, _)| &**other == name).map(|(_, value)| value);
        let (Some(names), Some(stamps)) =
            (header("stamped_headers").and_then(Value::as_list), header("stamps"))
        else {
            return Vec::new();
        };
        let named = names.iter().filter_map(Value::as_str);
        let with_values =
            named.filter_map(|name| Some((name, stamps.get(name).filter(|value| !value.is_null())?)));
        let each = with_values.flat_map(|(name, value)| match value {
            Value::List(values) => values.iter().map(|value| Self::new(name, value.clone())).collect(),
            value => vec![Self::new(name, value.clone())],
        });
        each.take(MOST).collect()
    }

    /// Whether a message bears it.
    pub(crate) fn is_on(&self, headers: &Headers) -> bool {
        Self::of(headers).contains(self)
    }

    /// What the store calls it.
    pub(crate) fn id(&self) -> TaskId {
        let named = Value::List(vec![(*self.header).into(), self.value.clone()]);
        TaskId::new(format!("{PREFIX}{}", String::from_utf8_lossy(&json::to_bytes(&named))))
    }

    /// The stamp that the store calls so, if it is one.
    pub(crate) fn of_id(id: &TaskId) -> Option<Self> {
        match json::parse(id.as_str().strip_prefix(PREFIX)?.as_bytes()).ok()? {
            Value::List(named) => match <[Value; 2]>::try_from(named).ok()? {
                [Value::String(header), value] => Some(Self { header, value }),
                _ => None,
            },
            _ => None,
        }
    }

    /// The header.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// The value.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// As Celery's log shows it.
    pub(crate) fn shown(&self) -> String {
        repr::repr(&Value::Map(vec![(self.header.clone(), self.value.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(json: &str) -> Headers {
        Headers::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_stamps_of_a_message_are_those_that_it_names() {
        let stamped = headers(
            r#"{"task": "t", "id": "1", "stamped_headers": ["one", "many", "none"], "stamps": {"one": 1, "many": ["a", "b"], "other": 2}}"#,
        );
        let found = Stamp::of(&stamped);
        assert_eq!(
            found,
            [Stamp::new("one", 1.into()), Stamp::new("many", "a".into()), Stamp::new("many", "b".into())]
        );
        assert!(found.iter().all(|stamp| stamp.is_on(&stamped)));
        assert!(!Stamp::new("other", 2.into()).is_on(&stamped));
        assert_eq!(Stamp::of(&headers(r#"{"task": "t", "stamps": {"one": 1}}"#)), []);
    }

    #[test]
    fn a_stamp_is_found_again_by_its_name_in_the_store() {
        for value in [Value::from("é\""), 7.into(), Value::Null] {
            let stamp = Stamp::new("monitoring_id", value);
            assert_eq!(Stamp::of_id(&stamp.id()), Some(stamp));
        }
        for other in ["1f0c7b1e", "celeriac-stamp:", "celeriac-stamp:[1, 2]", "celeriac-stamp:[\"a\"]"] {
            assert_eq!(Stamp::of_id(&TaskId::new(other)), None);
        }
        assert_eq!(Stamp::new("a", "b".into()).shown(), "{'a': 'b'}");
    }
}
