//! The serializers and compressions that kombu registers, by their names and content types.

/// How a body or a result is serialized.
///
/// Source: `kombu/serialization.py`, `register_json`, `register_msgpack`, kombu 5.7.0. Pickle is not here: reading it
/// runs code. YAML is not here either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Serializer {
    /// `json`: what Celery uses unless told otherwise.
    #[default]
    Json,
    /// `msgpack`: smaller, with bytes, without dates and the like.
    MessagePack,
}

impl Serializer {
    /// The serializer with this name, such as `json`, or this content type, such as `application/json`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" | "application/json" => Some(Self::Json),
            "msgpack" | "application/x-msgpack" => Some(Self::MessagePack),
            _ => None,
        }
    }

    /// The name, as the `task_serializer` setting has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "msgpack",
        }
    }

    /// The content type of what it writes.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MessagePack => "application/x-msgpack",
        }
    }

    /// The content encoding of what it writes.
    pub fn content_encoding(self) -> &'static str {
        match self {
            Self::Json => "utf-8",
            Self::MessagePack => "binary",
        }
    }
}
