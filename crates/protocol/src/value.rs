//! A value as Python's serializers carry it: JSON, and what Celery adds to it.

/// Any argument or result, whatever serializer carried it.
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
    /// Bytes.
    Bytes(Box<[u8]>),
    /// A list (or tuple).
    List(Vec<Value>),
    /// A dictionary with text keys, in the order of the wire.
    Map(Vec<(Box<str>, Value)>),
}
