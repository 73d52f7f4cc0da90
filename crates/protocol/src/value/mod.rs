//! A value as Python's serializers carry it: JSON, and what Celery adds to it.

mod de;
mod ser;

pub use de::ValueError;

use uuid::Uuid;

/// Any argument or result, whatever serializer carried it.
///
/// Python types that JSON lacks travel in kombu's wrapper `{"__type__": ..., "__value__": ...}` and have variants
/// here. A wrapper of a type that kombu does not know stays a [`Value::Map`].
///
/// With serde it goes both ways: [`Value::from_serialize`] makes one from any serializable value, and
/// [`Value::deserialize_into`] makes any deserializable type from one.
///
/// ```
/// use celeriac_protocol::Value;
///
/// let value = Value::from_serialize(&("http://example.org", 2)).unwrap();
/// let (url, depth): (String, u8) = value.deserialize_into().unwrap();
/// assert_eq!((url.as_str(), depth), ("http://example.org", 2));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    #[default]
    Null,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// An integer beyond 64 bits, in decimal digits with an optional leading `-`.
    BigInt(Box<str>),
    /// A float, with NaN and the infinities.
    Float(f64),
    /// Text.
    String(Box<str>),
    /// Text with lone surrogates, which Python's strings may hold, in WTF-8.
    Surrogates(Box<[u8]>),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// A `datetime` in the form of its `isoformat()`.
    DateTime(Box<str>),
    /// A `date` in the form of its `isoformat()`.
    Date(Box<str>),
    /// A `time` in the form of its `isoformat()`.
    Time(Box<str>),
    /// A `Decimal` in the form of its `str()`.
    Decimal(Box<str>),
    /// A `uuid.UUID`.
    Uuid(Uuid),
    /// A list (or tuple).
    List(Vec<Value>),
    /// A dictionary with text keys, in the order of the wire.
    Map(Vec<(Box<str>, Value)>),
}

impl Value {
    /// The value as text, for text and the types that travel as text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text)
            | Self::DateTime(text)
            | Self::Date(text)
            | Self::Time(text)
            | Self::Decimal(text) => Some(text),
            _ => None,
        }
    }

    /// The value as an integer.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The value as a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            Self::BigInt(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The value as a truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The elements of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dictionary, in the order of the wire.
    pub fn as_map(&self) -> Option<&[(Box<str>, Value)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of a dictionary under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.iter().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }

    /// Whether this is `None`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether lists and dictionaries are nested more than so many levels deep. What travels as a wrapper counts as one.
    pub fn is_deeper_than(&self, levels: u32) -> bool {
        let deeper = |value: &Value| levels == 0 || value.is_deeper_than(levels - 1);
        match self {
            Self::List(items) => levels == 0 || items.iter().any(deeper),
            Self::Map(entries) => levels == 0 || entries.iter().any(|(_, value)| deeper(value)),
            Self::Bytes(_)
            | Self::DateTime(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::Decimal(_)
            | Self::Uuid(_) => levels == 0,
            _ => false,
        }
    }

    /// The Python type, for messages to people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::String(_) | Self::Surrogates(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::DateTime(_) => "datetime",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Decimal(_) => "Decimal",
            Self::Uuid(_) => "UUID",
            Self::List(_) => "list",
            Self::Map(_) => "dict",
        }
    }
}

macro_rules! from {
    ($($source:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$source> for Value {
            fn from($value: $source) -> Self {
                $made
            }
        })*
    };
}

from! {
    () => |_none| Self::Null;
    bool => |bool| Self::Bool(bool);
    i8 => |int| Self::Int(int.into());
    i16 => |int| Self::Int(int.into());
    i32 => |int| Self::Int(int.into());
    i64 => |int| Self::Int(int);
    u8 => |int| Self::Int(int.into());
    u16 => |int| Self::Int(int.into());
    u32 => |int| Self::Int(int.into());
    u64 => |int| i64::try_from(int).map_or_else(|_| Self::BigInt(int.to_string().into()), Self::Int);
    usize => |int| Self::from(int as u64);
    f32 => |float| Self::Float(float.into());
    f64 => |float| Self::Float(float);
    &str => |text| Self::String(text.into());
    String => |text| Self::String(text.into());
    Box<str> => |text| Self::String(text);
    Uuid => |uuid| Self::Uuid(uuid);
    Vec<Value> => |items| Self::List(items);
    Vec<(Box<str>, Value)> => |entries| Self::Map(entries);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
