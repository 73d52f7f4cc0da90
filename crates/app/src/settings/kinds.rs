//! The types a setting can have, and how each is written as text and in TOML.

use std::net::SocketAddr;
use std::time::Duration;

use celeriac_store::Durability;
use toml::de::DeValue;

use super::layers::in_file_order;
use crate::objectives::{Objective, Objectives};
use crate::routing::{RouteTarget, Routes};
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
    fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
        match value {
            DeValue::String(text) => Self::from_text(text),
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
pub(super) fn refuse_toml<T: SettingKind>(value: &DeValue<'_>) -> InvalidSetting {
    match value {
        DeValue::String(text) => T::refuse(&format_args!("{text:?}")),
        DeValue::Integer(number) => T::refuse(number),
        DeValue::Float(number) => T::refuse(&number.as_str()),
        DeValue::Boolean(flag) => T::refuse(flag),
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

    fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
        match value {
            DeValue::Boolean(flag) => Ok(*flag),
            other => Err(refuse_toml::<Self>(other)),
        }
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

            fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
                let number = match value {
                    DeValue::Integer(digits) => Self::from_str_radix(digits.as_str(), digits.radix()).ok(),
                    _ => None,
                };
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

    fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
        let seconds: Option<f64> = match value {
            DeValue::Integer(digits) => digits.as_str().parse().ok(),
            DeValue::Float(digits) => digits.as_str().parse().ok(),
            _ => None,
        };
        let duration = seconds.and_then(|seconds| Self::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| refuse_toml::<Self>(value))
    }

    fn show(&self) -> String {
        self.as_secs_f64().to_string()
    }
}

impl SettingKind for SocketAddr {
    const EXPECTED: &'static str = "an address and a port, such as 127.0.0.1:9090";

    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        text.trim().parse().map_err(|_| Self::refuse(&format_args!("{text:?}")))
    }

    fn show(&self) -> String {
        self.to_string()
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

    fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
        match value {
            DeValue::String(text) if matches!(text.as_ref(), "" | "none") => Ok(None),
            _ => T::from_toml(value).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), SettingKind::show)
    }
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

/// A TOML table in one line, or nothing.
fn by_task_in_a_line<T: SettingKind + Default>(text: &str) -> Result<T, InvalidSetting> {
    let refuse = || T::refuse(&format_args!("{text:?}"));
    match text {
        "" => Ok(T::default()),
        text => T::from_toml(DeValue::parse(text).map_err(|_| refuse())?.get_ref()),
    }
}

/// The entries of a table by the name or pattern of a task, in the order of the file; `read` knows what one looks like.
fn by_task<T: SettingKind, E>(
    value: &DeValue<'_>,
    read: impl Fn(&DeValue<'_>) -> Option<E>,
) -> Result<Vec<(Box<str>, E)>, InvalidSetting> {
    let DeValue::Table(table) = value else { return Err(refuse_toml::<T>(value)) };
    let entries = in_file_order(table).into_iter().map(|(name, given)| {
        let given = given.get_ref();
        Ok((name.get_ref().as_ref().into(), read(given).ok_or_else(|| refuse_toml::<T>(given))?))
    });
    entries.collect()
}

impl SettingKind for Routes {
    const EXPECTED: &'static str = "routes, such as { \"feed.*\" = \"feeds\" }";

    /// A TOML table in one line, or nothing.
    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        by_task_in_a_line(text)
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self::new(by_task::<Self, _>(value, route_target)?))
    }

    fn show(&self) -> String {
        let entries = self.iter().map(|(name, target)| {
            let queue = target.queue.as_ref().map(|queue| format!("queue = {:?}", queue.as_str()));
            let priority = target.priority.map(|priority| format!("priority = {priority}"));
            let fields: Vec<_> = queue.into_iter().chain(priority).collect();
            format!("{name:?} = {{ {} }}", fields.join(", "))
        });
        let entries: Vec<_> = entries.collect();
        if entries.is_empty() { String::new() } else { format!("{{ {} }}", entries.join(", ")) }
    }
}

impl SettingKind for Objectives {
    const EXPECTED: &'static str =
        "objectives in seconds, such as { \"feed.*\" = { response = 1, resolution = 60 } }";

    /// A TOML table in one line, or nothing.
    fn from_text(text: &str) -> Result<Self, InvalidSetting> {
        by_task_in_a_line(text)
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self::new(by_task::<Self, _>(value, objective)?))
    }

    fn show(&self) -> String {
        let entries = self.iter().map(|(name, Objective { response, resolution })| {
            let field = |name: &str, time: Option<Duration>| {
                time.map(|time| format!("{name} = {}", time.as_secs_f64()))
            };
            let fields: Vec<_> = [field("response", response), field("resolution", resolution)]
                .into_iter()
                .flatten()
                .collect();
            format!("{name:?} = {{ {} }}", fields.join(", "))
        });
        let entries: Vec<_> = entries.collect();
        if entries.is_empty() { String::new() } else { format!("{{ {} }}", entries.join(", ")) }
    }
}

/// A table of `response` and `resolution`.
fn objective(value: &DeValue<'_>) -> Option<Objective> {
    let DeValue::Table(table) = value else { return None };
    let mut objective = Objective::default();
    for (name, value) in table.iter() {
        let time = Duration::from_toml(value.get_ref()).ok()?;
        match name.get_ref().as_ref() {
            "response" => objective.response = Some(time),
            "resolution" => objective.resolution = Some(time),
            _ => return None,
        }
    }
    Some(objective)
}

/// A queue, or a table of `queue` and `priority`.
fn route_target(value: &DeValue<'_>) -> Option<RouteTarget> {
    match value {
        DeValue::String(queue) => Some(RouteTarget::from(queue.as_ref())),
        DeValue::Table(table) => {
            let mut target = RouteTarget::default();
            for (name, value) in table.iter() {
                match (name.get_ref().as_ref(), value.get_ref()) {
                    ("queue", DeValue::String(queue)) => target.queue = Some(queue.as_ref().into()),
                    ("priority", value) => {
                        target.priority = Some(u8::from_toml(value).ok().filter(|priority| *priority <= 9)?);
                    }
                    _ => return None,
                }
            }
            Some(target)
        }
        _ => None,
    }
}
