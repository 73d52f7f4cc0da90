//! Why bytes could not be understood, or a value could not be written.

/// Why bytes from outside are not what they claim to be. Trying again will not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON as CPython's `json` reads it.
    #[error("invalid JSON at byte {at}: {reason}")]
    Json {
        /// Where reading stopped, counted from the start of the document.
        at: usize,
        /// What was wrong there.
        reason: &'static str,
    },

    /// Not MessagePack as kombu reads it.
    #[error("invalid MessagePack at byte {at}: {reason}")]
    MessagePack {
        /// Where reading stopped, counted from the start of the document.
        at: usize,
        /// What was wrong there.
        reason: &'static str,
    },

    /// The bytes do not decompress.
    #[error("the body is not valid {compression} data")]
    Corrupt {
        /// The compression that the message names.
        compression: &'static str,
    },

    /// The decompressed body would be larger than allowed.
    #[error("the decompressed body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },

    /// A content type that no decoder is registered for, pickle among them.
    #[error("content type {content_type:?} is not accepted")]
    ContentType {
        /// The content type of the message.
        content_type: Box<str>,
    },

    /// A compression that is not known.
    #[error("compression {compression:?} is not known")]
    Compression {
        /// The `compression` header of the message.
        compression: Box<str>,
    },

    /// Well-formed, but not what Celery puts there.
    #[error("not a {what}: {reason}")]
    Shape {
        /// What was expected, such as `task message`.
        what: &'static str,
        /// What was found instead.
        reason: Box<str>,
    },
}

impl DecodeError {
    /// A [`DecodeError::Shape`].
    pub(crate) fn shape(what: &'static str, reason: impl Into<Box<str>>) -> Self {
        Self::Shape { what, reason: reason.into() }
    }
}

/// Why a value could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The type's own `Serialize` refused, or made something that has no place in a message.
    #[error("cannot be sent: {reason}")]
    Unrepresentable {
        /// Why.
        reason: Box<str>,
    },

    /// MessagePack has no form for this, where JSON has.
    #[error("cannot be sent as MessagePack: {reason}")]
    MessagePack {
        /// Why.
        reason: &'static str,
    },

    /// The compression library failed.
    #[error("cannot be compressed with {compression}")]
    Compression {
        /// The compression asked for.
        compression: &'static str,
    },
}
