//! Ids as the tables keep them.

use celeriac_protocol::{GroupId, TaskId};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// A task id in its stored form: 16 bytes if it is a UUID as Celery writes it, else text.
///
/// Half of the size of an index on task ids, and one compare instead of a text's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TaskKey {
    Uuid([u8; 16]),
    Text(Box<str>),
}

impl TaskKey {
    pub(super) fn of(id: &TaskId) -> Self {
        Self::of_text(id.as_str())
    }

    fn of_text(text: &str) -> Self {
        // Only the form that `id` writes comes back unchanged from the bytes: hyphens, lower case.
        if text.len() == 36
            && !text.bytes().any(|byte| byte.is_ascii_uppercase())
            && let Ok(uuid) = uuid::Uuid::try_parse(text)
        {
            return Self::Uuid(uuid.into_bytes());
        }
        Self::Text(text.into())
    }

    pub(super) fn id(&self) -> TaskId {
        match self {
            Self::Uuid(bytes) => {
                let uuid = uuid::Uuid::from_bytes(*bytes).hyphenated();
                TaskId::new(uuid.encode_lower(&mut uuid::Uuid::encode_buffer()))
            }
            Self::Text(text) => TaskId::new(text),
        }
    }
}

impl ToSql for TaskKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Uuid(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl FromSql for TaskKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => bytes.try_into().map(Self::Uuid).map_err(|_| FromSqlError::InvalidType),
            ValueRef::Text(_) => value.as_str().map(|text| Self::Text(text.into())),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// A member of a chord: its task, and its place. One task may stand at several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MemberKey {
    pub task: TaskKey,
    pub place: i64,
}

impl MemberKey {
    /// The place of those that have none, behind all others.
    const NO_PLACE: i64 = i64::MAX;

    pub(super) fn of(task: &TaskId, index: Option<i64>) -> Self {
        Self { task: TaskKey::of(task), place: index.unwrap_or(Self::NO_PLACE) }
    }

    pub(super) fn index(&self) -> Option<i64> {
        (self.place != Self::NO_PLACE).then_some(self.place)
    }
}

/// The id of a group in the same stored form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey(TaskKey);

impl GroupKey {
    pub(super) fn of(id: &GroupId) -> Self {
        Self(TaskKey::of_text(id.as_str()))
    }
}

impl ToSql for GroupKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_comes_back_as_it_was() {
        let fresh = TaskId::fresh();
        assert!(matches!(TaskKey::of(&fresh), TaskKey::Uuid(_)));
        let others =
            ["6F1C4C6B-7A1B-4A7E-9C0E-0123456789AB", "{6f1c4c6b7a1b4a7e9c0e0123456789ab12}", "", "a task"];
        for id in others.map(TaskId::from).into_iter().chain([fresh]) {
            assert_eq!(TaskKey::of(&id).id(), id);
        }
    }
}
