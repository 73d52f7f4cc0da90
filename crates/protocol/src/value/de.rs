//! From a [`Value`] to any serde type, and from any serde format to a [`Value`].

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::Value;
use super::ser::marker;

/// Why a [`Value`] is not of the wanted type: one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(Box<str>);

/// The longest such sentence, in bytes. serde quotes the value in it, however long that is.
const LONGEST_ERROR: usize = 1000;

impl de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut text = Clipped(String::new());
        // It fails when the text is full.
        if fmt::write(&mut text, format_args!("{message}")).is_err() {
            text.0.push_str("...");
        }
        Self(text.0.into())
    }
}

/// Text that takes no more than an error may hold.
struct Clipped(String);

impl fmt::Write for Clipped {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = LONGEST_ERROR - self.0.len();
        let taken = &piece[..piece.floor_char_boundary(room)];
        self.0.push_str(taken);
        if taken.len() < piece.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Value {
    /// Makes a `T` of this value.
    ///
    /// # Errors
    ///
    /// When the value has not the shape that `T` asks for.
    pub fn deserialize_into<T: DeserializeOwned>(self) -> Result<T, ValueError> {
        T::deserialize(self)
    }
}

impl<'de> IntoDeserializer<'de, ValueError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Methods that only need `deserialize_any`, for both deserializers below.
macro_rules! forwarded {
    () => {
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string unit unit_struct tuple tuple_struct map struct
            identifier ignored_any
        }
    };
}

impl<'de> Deserializer<'de> for Value {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(bool) => visitor.visit_bool(bool),
            Self::Int(int) => visitor.visit_i64(int),
            Self::BigInt(digits) => visit_digits(&digits, visitor),
            Self::Float(float) => visitor.visit_f64(float),
            Self::String(text)
            | Self::DateTime(text)
            | Self::Date(text)
            | Self::Time(text)
            | Self::Decimal(text) => visitor.visit_string(text.into()),
            Self::Surrogates(_) => Err(surrogates(&visitor)),
            Self::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            Self::Uuid(uuid) => visitor.visit_string(uuid.to_string()),
            Self::List(items) => visit_list(items, visitor),
            Self::Map(entries) => visit_map(entries, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if name == marker::VALUE {
            return match special(self) {
                Ok((variant, content)) => visitor.visit_enum(EnumAccess { variant, content: Some(content) }),
                Err(plain) => plain.deserialize_any(visitor),
            };
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            // `Vec<u8>` asks for a sequence, and Python's `bytes` are one.
            Self::Bytes(bytes) => {
                visitor.visit_seq(de::value::SeqDeserializer::new(Vec::from(bytes).into_iter()))
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self {
            Self::String(variant) => visitor.visit_enum(EnumAccess { variant, content: None }),
            Self::Map(mut entries) if entries.len() == 1 => {
                let (variant, content) = entries.remove(0);
                visitor.visit_enum(EnumAccess { variant, content: Some(content) })
            }
            other => Err(de::Error::invalid_type(other.unexpected(), &"text or a dictionary with one key")),
        }
    }

    forwarded!();
}

impl Value {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Unit,
            Self::Bool(bool) => Unexpected::Bool(*bool),
            Self::Int(int) => Unexpected::Signed(*int),
            Self::BigInt(_) => Unexpected::Other("integer beyond 64 bits"),
            Self::Float(float) => Unexpected::Float(*float),
            Self::String(text) => Unexpected::Str(text),
            Self::Surrogates(_) => Unexpected::Other("text with lone surrogates"),
            Self::Bytes(bytes) => Unexpected::Bytes(bytes),
            Self::List(_) => Unexpected::Seq,
            Self::Map(_) => Unexpected::Map,
            other => Unexpected::Other(other.kind()),
        }
    }
}

fn surrogates(expected: &dyn de::Expected) -> ValueError {
    de::Error::invalid_value(Unexpected::Other("text with lone surrogates"), expected)
}

fn visit_digits<'de, V: Visitor<'de>>(digits: &str, visitor: V) -> Result<V::Value, ValueError> {
    if let Ok(int) = digits.parse() {
        visitor.visit_u64(int)
    } else if let Ok(int) = digits.parse() {
        visitor.visit_i128(int)
    } else if let Ok(int) = digits.parse() {
        visitor.visit_u128(int)
    } else {
        Err(de::Error::invalid_value(Unexpected::Other("integer beyond 128 bits"), &visitor))
    }
}

fn visit_list<'de, V: Visitor<'de>>(items: Vec<Value>, visitor: V) -> Result<V::Value, ValueError> {
    let len = items.len();
    let mut access = de::value::SeqDeserializer::new(items.into_iter());
    let made = visitor.visit_seq(&mut access)?;
    match access.end() {
        Ok(()) => Ok(made),
        Err(_) => Err(de::Error::invalid_length(len, &"fewer elements")),
    }
}

fn visit_map<'de, V: Visitor<'de>>(
    entries: Vec<(Box<str>, Value)>,
    visitor: V,
) -> Result<V::Value, ValueError> {
    visitor.visit_map(MapAccess { entries: entries.into_iter(), value: None })
}

struct MapAccess {
    entries: std::vec::IntoIter<(Box<str>, Value)>,
    value: Option<Value>,
}

impl<'de> de::MapAccess<'de> for MapAccess {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ValueError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(KeyDeserializer(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ValueError> {
        let value =
            self.value.take().ok_or_else(|| de::Error::custom("a map asked for a value before its key"))?;
        seed.deserialize(value)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A key of a dictionary: text, also where the wanted type is a number, as Python's `json` turns those into text.
struct KeyDeserializer(Box<str>);

/// Writes one method per key type that is parsed from the text.
macro_rules! parsed_keys {
    ($($method:ident => $visit:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => visitor.visit_string(self.0.into()),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for KeyDeserializer {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_string(self.0.into())
    }

    parsed_keys! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128,
        deserialize_f32 => visit_f32,
        deserialize_f64 => visit_f64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(EnumAccess { variant: self.0, content: None })
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct EnumAccess {
    variant: Box<str>,
    content: Option<Value>,
}

impl<'de> de::EnumAccess<'de> for EnumAccess {
    type Error = ValueError;
    type Variant = VariantAccess;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, VariantAccess), ValueError> {
        let variant = seed.deserialize(KeyDeserializer(self.variant))?;
        Ok((variant, VariantAccess(self.content)))
    }
}

struct VariantAccess(Option<Value>);

impl VariantAccess {
    fn content(self) -> Result<Value, ValueError> {
        self.0.ok_or_else(|| de::Error::invalid_type(Unexpected::UnitVariant, &"a variant with content"))
    }
}

impl<'de> de::VariantAccess<'de> for VariantAccess {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        match self.0 {
            None | Some(Value::Null) => Ok(()),
            Some(other) => Err(de::Error::invalid_type(other.unexpected(), &"a variant without content")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ValueError> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ValueError> {
        self.content()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.content()?.deserialize_any(visitor)
    }
}

/// Splits a value that serde has no type for into its marker and its content; gives back every other value.
fn special(value: Value) -> Result<(Box<str>, Value), Value> {
    let (name, content) = match value {
        Value::DateTime(text) => (marker::DATETIME, Value::String(text)),
        Value::Date(text) => (marker::DATE, Value::String(text)),
        Value::Time(text) => (marker::TIME, Value::String(text)),
        Value::Decimal(text) => (marker::DECIMAL, Value::String(text)),
        Value::BigInt(digits) => (marker::BIG_INT, Value::String(digits)),
        Value::Surrogates(wtf8) => (marker::SURROGATES, Value::Bytes(wtf8)),
        Value::Uuid(uuid) => (marker::UUID, Value::String(uuid.to_string().into())),
        plain => return Err(plain),
    };
    Ok((name.into(), content))
}

impl<'de> de::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Our own deserializer answers this marker with the variants that serde has no type for.
        deserializer.deserialize_newtype_struct(marker::VALUE, ValueVisitor)
    }
}

struct ValueVisitor;

/// Writes one method per type that converts by `From`.
macro_rules! by_conversion {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<Value, E> {
            Ok(Value::from(value))
        })*
    };
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    by_conversion! {
        visit_bool: bool,
        visit_i64: i64,
        visit_u64: u64,
        visit_f64: f64,
        visit_str: &str,
        visit_string: String,
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Value::from_serialize(&value).map_err(E::custom)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        Value::from_serialize(&value).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.into()))
    }

    fn visit_byte_buf<E: de::Error>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        de::Deserialize::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        // The hint may be a lie from the wire.
        let mut items = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(entry) = access.next_entry::<Box<str>, Value>()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        use de::VariantAccess as _;
        let (name, variant): (Box<str>, _) = access.variant()?;
        let content: Value = variant.newtype_variant()?;
        Ok(match (&*name, content) {
            (marker::DATETIME, Value::String(text)) => Value::DateTime(text),
            (marker::DATE, Value::String(text)) => Value::Date(text),
            (marker::TIME, Value::String(text)) => Value::Time(text),
            (marker::DECIMAL, Value::String(text)) => Value::Decimal(text),
            (marker::BIG_INT, Value::String(digits)) => Value::BigInt(digits),
            (marker::SURROGATES, Value::Bytes(wtf8)) => Value::Surrogates(wtf8),
            (marker::UUID, Value::String(text)) => Value::Uuid(text.parse().map_err(de::Error::custom)?),
            (_, content) => Value::Map(vec![(name, content)]),
        })
    }
}
