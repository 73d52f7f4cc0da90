//! The types a setting can have, and how each is written as text and in TOML.

use std::time::Duration;

use crate::task::RateLimit;

/// A value that does not fit its setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct InvalidSetting {
    /// What would be right.
    pub expected: &'static str,
    /// What was given.
    pub found: String,
}

/// A type that a setting can have.
pub trait SettingKind: Sized {
    /// What a value looks like, for people.
    const EXPECTED: &'static str;

    /// Reads a value from the environment or a flag.
    ///
    /// # Errors
    /// What was expected instead.
    fn from_text(text: &str) -> Result<Self, InvalidSetting>;

    /// Reads a value from a TOML file.
    ///
    /// # Errors
    /// What was expected instead.
    fn from_toml(value: &toml::Value) -> Result<Self, InvalidSetting> {
        match value {
            toml::Value::String(text) => Self::from_text(text),
            other => Err(refuse_toml::<Self>(other)),
        }
    }

    /// The value as text that [`SettingKind::from_text`] reads.
    fn show(&self) -> String;

    /// The error for what does not fit.
    fn refuse(found: &dyn std::fmt::Display) -> InvalidSetting {
        InvalidSetting { expected: Self::EXPECTED, found: found.to_string() }
    }
}

/// The error for a TOML value that does not fit: shows a scalar, and names the type of anything else.
fn refuse_toml<T: SettingKind>(value: &toml::Value) -> InvalidSetting {
    match value {
        toml::Value::String(text) => T::refuse(&format_args!("{text:?}")),
        toml::Value::Integer(number) => T::refuse(number),
        toml::Value::Float(number) => T::refuse(number),
        toml::Value::Boolean(flag) => T::refuse(flag),
        other => T::refuse(&format_args!("a {}", other.type_str())),
    }
}

impl SettingKind for String {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl SettingKind for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(Self::refuse(&format_args!("{text:?}"))),
        }
    }

    fn from_toml(value: &toml::Value) -> Result<Self, InvalidSetting> {
        value.as_bool().ok_or_else(|| refuse_toml::<Self>(value))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($kind:ty => $expected:literal),*) => {$(
        impl SettingKind for $kind {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, InvalidSetting> {
                text.trim().parse().map_err(|_| Self::refuse(&format_args!("{text:?}")))
            }

            fn from_toml(value: &toml::Value) -> Result<Self, InvalidSetting> {
                let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(|| refuse_toml::<Self>(value))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers! { u8 => "a whole number up to 255", u32 => "a whole number", u64 => "a whole number" }

impl SettingKind for Duration {
    const EXPECTED: &'static str = "seconds, such as 30 or 0.5";

    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        let seconds = text.trim().parse().ok();
        let duration = seconds.and_then(|seconds| Self::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| Self::refuse(&format_args!("{text:?}")))
    }

    fn from_toml(value: &toml::Value) -> Result<Self, InvalidSetting> {
        #[expect(clippy::cast_precision_loss, reason = "no duration in use has 2^53 seconds")]
        let seconds = value.as_float().or(value.as_integer().map(|seconds| seconds as f64));
        let duration = seconds.and_then(|seconds| Self::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| refuse_toml::<Self>(value))
    }

    fn show(&self) -> String {
        self.as_secs_f64().to_string()
    }
}

impl SettingKind for RateLimit {
    const EXPECTED: &'static str = "a rate, such as \"10/s\", \"10/m\" or \"10/h\"";

    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        text.parse().map_err(|_| Self::refuse(&format_args!("{text:?}")))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: SettingKind> SettingKind for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    /// The empty text and `none` are nothing.
    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        match text {
            "" | "none" => Ok(None),
            text => T::from_text(text).map(Some),
        }
    }

    fn from_toml(value: &toml::Value) -> Result<Self, InvalidSetting> {
        match value.as_str() {
            Some("" | "none") => Ok(None),
            _ => T::from_toml(value).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), SettingKind::show)
    }
}

/// How much an embedded store writes before it says that something is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// A crash of the program loses nothing; a power cut may lose the last moments.
    #[default]
    Normal,
    /// A power cut loses nothing either; every commit waits for the disk.
    Full,
}

impl SettingKind for Durability {
    const EXPECTED: &'static str = "\"normal\" or \"full\"";

    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        match text {
            "normal" => Ok(Self::Normal),
            "full" => Ok(Self::Full),
            _ => Err(Self::refuse(&format_args!("{text:?}"))),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Normal => "normal".to_owned(),
            Self::Full => "full".to_owned(),
        }
    }
}
