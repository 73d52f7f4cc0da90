//! From any serde type to a [`Value`], and from a [`Value`] to any serde format.

use serde::ser::{self, Error as _, Serialize, SerializeMap as _, SerializeSeq as _};

use super::Value;
use crate::EncodeError;

/// Names of newtype structs by which [`Value`] recognises its own types.
///
/// serde has no types for dates and the like. Other formats see the text inside; our own serializer sees the name.
pub(super) mod marker {
    pub(in crate::value) const DATETIME: &str = "\0celeriac.datetime";
    pub(in crate::value) const DATE: &str = "\0celeriac.date";
    pub(in crate::value) const TIME: &str = "\0celeriac.time";
    pub(in crate::value) const DECIMAL: &str = "\0celeriac.decimal";
    pub(in crate::value) const UUID: &str = "\0celeriac.uuid";
    pub(in crate::value) const BIG_INT: &str = "\0celeriac.int";
    pub(in crate::value) const SURROGATES: &str = "\0celeriac.surrogates";
    pub(in crate::value) const VALUE: &str = "\0celeriac.value";
}

impl Value {
    /// A value with the content of `source`.
    ///
    /// Structs become dictionaries, tuples become lists, keys of maps become text as in Python's `json`.
    ///
    /// # Errors
    ///
    /// When `source` refuses to be serialized, or has map keys that are neither text, numbers nor truth values.
    pub fn from_serialize<T: Serialize + ?Sized>(source: &T) -> Result<Self, EncodeError> {
        source.serialize(ValueSerializer)
    }
}

impl ser::Error for EncodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Unrepresentable { reason: message.to_string().into() }
    }
}

impl Serialize for Value {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(bool) => serializer.serialize_bool(*bool),
            Self::Int(int) => serializer.serialize_i64(*int),
            Self::BigInt(digits) => serialize_digits(digits, serializer),
            Self::Float(float) => serializer.serialize_f64(*float),
            Self::String(text) => serializer.serialize_str(text),
            Self::Surrogates(wtf8) => serializer.serialize_newtype_struct(marker::SURROGATES, &BytesOf(wtf8)),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::DateTime(text) => serializer.serialize_newtype_struct(marker::DATETIME, text),
            Self::Date(text) => serializer.serialize_newtype_struct(marker::DATE, text),
            Self::Time(text) => serializer.serialize_newtype_struct(marker::TIME, text),
            Self::Decimal(text) => serializer.serialize_newtype_struct(marker::DECIMAL, text),
            Self::Uuid(uuid) => {
                let mut buffer = uuid::Uuid::encode_buffer();
                let text: &str = uuid.hyphenated().encode_lower(&mut buffer);
                serializer.serialize_newtype_struct(marker::UUID, text)
            }
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// Writes an integer as such where the format has room for it, else as text.
fn serialize_digits<S: ser::Serializer>(digits: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(int) = digits.parse::<u64>() {
        return serializer.serialize_u64(int);
    }
    serializer.serialize_newtype_struct(marker::BIG_INT, digits)
}

/// Bytes that serialize as bytes, not as a sequence of numbers.
struct BytesOf<'a>(&'a [u8]);

impl Serialize for BytesOf<'_> {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Makes a [`Value`] of whatever is serialized into it.
struct ValueSerializer;

/// Writes one method per integer type that converts by `From`.
macro_rules! by_conversion {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Result<Value, EncodeError> {
            Ok(Value::from(value))
        })*
    };
}

impl ser::Serializer for ValueSerializer {
    type Ok = Value;
    type Error = EncodeError;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = VariantSerializer<ListSerializer>;
    type SerializeMap = MapSerializer;
    type SerializeStruct = MapSerializer;
    type SerializeStructVariant = VariantSerializer<MapSerializer>;

    by_conversion! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_str: &str,
    }

    fn serialize_i128(self, value: i128) -> Result<Value, EncodeError> {
        Ok(i64::try_from(value).map_or_else(|_| Value::BigInt(value.to_string().into()), Value::Int))
    }

    fn serialize_u128(self, value: u128) -> Result<Value, EncodeError> {
        Ok(i64::try_from(value).map_or_else(|_| Value::BigInt(value.to_string().into()), Value::Int))
    }

    fn serialize_char(self, value: char) -> Result<Value, EncodeError> {
        Ok(Value::String(value.encode_utf8(&mut [0; 4]).into()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, EncodeError> {
        Ok(Value::Bytes(value.into()))
    }

    fn serialize_none(self) -> Result<Value, EncodeError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, EncodeError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, EncodeError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, EncodeError> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, EncodeError> {
        let inner = value.serialize(ValueSerializer)?;
        if name.starts_with('\0') { mark(name, inner) } else { Ok(inner) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, EncodeError> {
        Ok(Value::Map(vec![(variant.into(), value.serialize(ValueSerializer)?)]))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListSerializer, EncodeError> {
        Ok(ListSerializer(Vec::with_capacity(len.unwrap_or(0))))
    }

    fn serialize_tuple(self, len: usize) -> Result<ListSerializer, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<ListSerializer, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<VariantSerializer<ListSerializer>, EncodeError> {
        Ok(VariantSerializer { variant, content: self.serialize_seq(Some(len))? })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<MapSerializer, EncodeError> {
        Ok(MapSerializer { entries: Vec::with_capacity(len.unwrap_or(0)), key: None })
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<MapSerializer, EncodeError> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<VariantSerializer<MapSerializer>, EncodeError> {
        Ok(VariantSerializer { variant, content: self.serialize_map(Some(len))? })
    }
}

/// Gives text the type that a [`marker`] names.
fn mark(name: &'static str, inner: Value) -> Result<Value, EncodeError> {
    Ok(match (name, inner) {
        (marker::DATETIME, Value::String(text)) => Value::DateTime(text),
        (marker::DATE, Value::String(text)) => Value::Date(text),
        (marker::TIME, Value::String(text)) => Value::Time(text),
        (marker::DECIMAL, Value::String(text)) => Value::Decimal(text),
        (marker::BIG_INT, Value::String(digits)) => Value::BigInt(digits),
        (marker::SURROGATES, Value::Bytes(wtf8)) => Value::Surrogates(wtf8),
        (marker::UUID, Value::String(text)) => Value::Uuid(text.parse().map_err(EncodeError::custom)?),
        (_, inner) => inner,
    })
}

struct ListSerializer(Vec<Value>);

impl ser::SerializeSeq for ListSerializer {
    type Ok = Value;
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.0.push(value.serialize(ValueSerializer)?);
        Ok(())
    }

    fn end(self) -> Result<Value, EncodeError> {
        Ok(Value::List(self.0))
    }
}

impl ser::SerializeTuple for ListSerializer {
    type Ok = Value;
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Value, EncodeError> {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeTupleStruct for ListSerializer {
    type Ok = Value;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Value, EncodeError> {
        ser::SerializeSeq::end(self)
    }
}

struct MapSerializer {
    entries: Vec<(Box<str>, Value)>,
    key: Option<Box<str>>,
}

impl ser::SerializeMap for MapSerializer {
    type Ok = Value;
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.key = Some(key_text(key.serialize(ValueSerializer)?)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let key = self.key.take().ok_or_else(|| EncodeError::custom("a map wrote a value before its key"))?;
        self.entries.push((key, value.serialize(ValueSerializer)?));
        Ok(())
    }

    fn end(self) -> Result<Value, EncodeError> {
        Ok(Value::Map(self.entries))
    }
}

impl ser::SerializeStruct for MapSerializer {
    type Ok = Value;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.entries.push((key.into(), value.serialize(ValueSerializer)?));
        Ok(())
    }

    fn end(self) -> Result<Value, EncodeError> {
        Ok(Value::Map(self.entries))
    }
}

/// The text that Python's `json` makes of a key.
///
/// Source: `json/encoder.py`, `_iterencode_dict`, CPython 3.11.
fn key_text(key: Value) -> Result<Box<str>, EncodeError> {
    Ok(match key {
        Value::String(text) => text,
        Value::Int(int) => int.to_string().into(),
        Value::BigInt(digits) => digits,
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::Null => "null".into(),
        Value::Float(float) => crate::json::float_text(float).into(),
        Value::DateTime(text) | Value::Date(text) | Value::Time(text) | Value::Decimal(text) => text,
        Value::Uuid(uuid) => uuid.to_string().into(),
        other => return Err(EncodeError::custom(format_args!("a {} cannot be a key", other.kind()))),
    })
}

/// A variant of an enum with content, as `{"Variant": content}`.
struct VariantSerializer<C> {
    variant: &'static str,
    content: C,
}

impl<C> VariantSerializer<C> {
    fn wrap(variant: &'static str, content: Value) -> Value {
        Value::Map(vec![(variant.into(), content)])
    }
}

impl ser::SerializeTupleVariant for VariantSerializer<ListSerializer> {
    type Ok = Value;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.content.serialize_element(value)
    }

    fn end(self) -> Result<Value, EncodeError> {
        Ok(Self::wrap(self.variant, ser::SerializeSeq::end(self.content)?))
    }
}

impl ser::SerializeStructVariant for VariantSerializer<MapSerializer> {
    type Ok = Value;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        ser::SerializeStruct::serialize_field(&mut self.content, key, value)
    }

    fn end(self) -> Result<Value, EncodeError> {
        Ok(Self::wrap(self.variant, ser::SerializeStruct::end(self.content)?))
    }
}
