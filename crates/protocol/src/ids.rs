//! Identifiers as types of their own, so that they cannot be swapped.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Cheap to clone: the text is shared.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("A `", stringify!($name), "` of this text, taken as it is.")]
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(text.as_ref().into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

identifier! {
    /// Names one call of a task: a UUID as Celery writes it, but any text is accepted.
    TaskId
}

identifier! {
    /// Names a task as producers call it, such as `urls.save_url`.
    TaskName
}

identifier! {
    /// Names a group of tasks, such as the header of a chord: a UUID as Celery writes it, but any text is accepted.
    GroupId
}

identifier! {
    /// Names a queue.
    QueueName
}

impl TaskId {
    /// A fresh id that is unique everywhere.
    ///
    /// It is a version 7 UUID: ids made one after the other sort next to each other, so a database
    /// appends them to its index where random ids would touch a page each.
    pub fn fresh() -> Self {
        Self::new(uuid::Uuid::now_v7().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
    }
}
