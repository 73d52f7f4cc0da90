//! Groups as Celery's key-value backends store them: what their members have reported, and what they are made of.

use crate::json::write_list;
use crate::result::plain_payload;
use crate::{DecodeError, State, TaskId, Value, json, key};

/// What a member of a chord has reported, as Celery's Redis backend keeps it until the chord is complete.
///
/// Source: `celery/backends/redis.py`, `RedisBackend.on_chord_part_return`, Celery 5.7.0.
#[derive(Clone, Debug, PartialEq)]
pub struct PartRecord {
    /// The member.
    pub member: TaskId,
    /// How it ended.
    pub state: State,
    /// What it returned, or the exception as data.
    pub result: Value,
}

impl PartRecord {
    /// The record in JSON: `[1, id, state, result]`.
    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let (member, state) = (Value::from(self.member.as_str()), Value::from(self.state.as_str()));
        write_list(&mut out, &[Value::Int(1), member, state, self.result]);
        out
    }

    /// Reads a record from its JSON, compressed or not.
    ///
    /// # Errors
    ///
    /// When the bytes are no such record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match json::parse(&plain_payload(bytes)?)? {
            Value::List(items) => match <[Value; 4]>::try_from(items) {
                Ok([_, Value::String(member), Value::String(state), result]) => {
                    Ok(Self { member: TaskId::from(&*member), state: State::from(&*state), result })
                }
                _ => Err(not_a_part("other items than number, id, state and result")),
            },
            _ => Err(not_a_part("no list")),
        }
    }
}

fn not_a_part(reason: &'static str) -> DecodeError {
    DecodeError::shape("part of a chord", reason)
}

/// A saved group in JSON; `result` is its result as nested tuples.
///
/// Source: `celery/backends/base.py`, `BaseKeyValueStoreBackend._save_group`, Celery 5.7.0.
pub fn encode_group(result: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut object = json::ObjectWriter::new(&mut out);
    object.value(key!("result"), result);
    object.end();
    out
}

/// The result of a saved group, from its JSON, compressed or not.
///
/// # Errors
///
/// When the bytes are not what is stored of a group.
pub fn decode_group(bytes: &[u8]) -> Result<Value, DecodeError> {
    let Value::Map(fields) = json::parse(&plain_payload(bytes)?)? else {
        return Err(DecodeError::shape("saved group", "no dictionary"));
    };
    let result = fields.into_iter().find(|(name, _)| &**name == "result");
    result.map(|(_, result)| result).ok_or_else(|| DecodeError::shape("saved group", "no result"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Celery 5.7.0 stores: `backend.encode([1, tid, state, backend.encode_result(result, state)])`.
    #[test]
    fn a_part_is_celerys() {
        let cases = [
            (&br#"[1, "a", "SUCCESS", {"x": [1, 2.0, null]}]"#[..], State::Success),
            (
                br#"[1, "a", "FAILURE", {"exc_type": "E", "exc_message": ["m"], "exc_module": "tasks"}]"#,
                State::Failure,
            ),
        ];
        for (bytes, state) in cases {
            let part = PartRecord::decode(bytes).unwrap();
            assert_eq!((part.member.as_str(), &part.state), ("a", &state));
            assert_eq!(part.encode(), bytes);
        }
    }

    #[test]
    fn blanks_behind_a_part_mean_nothing() {
        let part = |bytes: &[u8]| PartRecord::decode(bytes).unwrap();
        assert_eq!(part(br#"[1, "a", "SUCCESS", 2]  "#), part(br#"[1, "a", "SUCCESS", 2]"#));
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for bytes in [&b""[..], b"{}", b"[1]", br#"[1, 2, "SUCCESS", 3]"#, br#"[1, "a", "SUCCESS", 2, 3]"#] {
            assert!(PartRecord::decode(bytes).is_err());
        }
    }

    #[test]
    fn a_saved_group_is_celerys() {
        let bytes = br#"{"result": [["g", null], [[["a", null], null]]]}"#;
        assert_eq!(encode_group(&decode_group(bytes).unwrap()), bytes);
        assert!(decode_group(b"[]").is_err() && decode_group(b"{}").is_err());
    }
}
