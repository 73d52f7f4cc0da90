//! Celery's transport options as settings. They may hold a password (`sentinel_kwargs`), so no value is shown to people.

use std::fmt;

use celeriac_protocol::{Value, json};
use celeriac_store::{RedisOptions, RefusedOption};
use toml::de::DeValue;

use super::kinds::refuse_toml;
use super::layers::in_file_order;
use crate::nearest_name;
use crate::settings::{InvalidSetting, SettingKind};

type Entries = Vec<(Box<str>, Value)>;

/// Celery's `broker_transport_options`, for a broker on Redis: [`RedisOptions::set`] says which there are.
///
/// ```
/// use celeriac_app::Settings;
///
/// let mut settings = Settings::default();
/// settings.set("broker_transport_options", r#"{"visibility_timeout": 600}"#)?;
/// # Ok::<(), celeriac_app::settings::InvalidSetting>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct BrokerTransportOptions(Entries);

/// Celery's `result_backend_transport_options`, for results on Redis: [`RedisOptions::set_for_results`] says which there are.
#[derive(Clone, Default, PartialEq)]
pub struct ResultTransportOptions(Entries);

impl BrokerTransportOptions {
    fn checked(entries: Entries) -> Result<Self, InvalidSetting> {
        check(&entries, RedisOptions::set)?;
        Ok(Self(entries))
    }
}

impl ResultTransportOptions {
    fn checked(entries: Entries) -> Result<Self, InvalidSetting> {
        check(&entries, RedisOptions::set_for_results)?;
        Ok(Self(entries))
    }
}

/// What both settings mean for a store.
pub(crate) fn redis_options(
    broker: &BrokerTransportOptions,
    results: &ResultTransportOptions,
) -> RedisOptions {
    let mut options = RedisOptions::default();
    // They were checked when they were set.
    for (name, value) in &broker.0 {
        let _ = options.set(name, value);
    }
    for (name, value) in &results.0 {
        let _ = options.set_for_results(name, value);
    }
    options
}

fn check(
    entries: &Entries,
    set: fn(&mut RedisOptions, &str, &Value) -> Result<(), RefusedOption>,
) -> Result<(), InvalidSetting> {
    let mut options = RedisOptions::default();
    for (name, value) in entries {
        set(&mut options, name, value).map_err(|RefusedOption { expected, mut found, .. }| {
            let nearest = nearest_name(name, RedisOptions::known()).filter(|nearest| *nearest != &**name);
            if let Some(nearest) = nearest {
                found = format!("{found}; did you mean {nearest}?");
            }
            InvalidSetting { expected, found }
        })?;
    }
    Ok(())
}

/// What the two settings have in common as kinds.
macro_rules! kind {
    ($kind:ty) => {
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
            }
        }

        impl SettingKind for $kind {
            const EXPECTED: &'static str = "a table, such as {\"visibility_timeout\": 3600}";

            /// A JSON object, or nothing.
            fn from_text(text: &str) -> Result<Self, InvalidSetting> {
                match json::parse(text.as_bytes()) {
                    _ if text.is_empty() => Ok(Self::default()),
                    Ok(Value::Map(entries)) => Self::checked(entries),
                    _ => Err(Self::refuse(&"text that is no JSON object")),
                }
            }

            fn from_toml(value: &DeValue<'_>) -> Result<Self, InvalidSetting> {
                match value {
                    DeValue::String(text) => Self::from_text(text),
                    _ => match value_of_toml(value) {
                        Value::Map(entries) => Self::checked(entries),
                        _ => Err(refuse_toml::<Self>(value)),
                    },
                }
            }

            fn show(&self) -> String {
                match &self.0[..] {
                    [] => String::new(),
                    entries => {
                        let text = json::to_bytes(&Value::Map(entries.to_vec()));
                        String::from_utf8_lossy(&text).into_owned()
                    }
                }
            }
        }
    };
}

kind!(BrokerTransportOptions);
kind!(ResultTransportOptions);

/// The same value as JSON would carry it.
fn value_of_toml(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Value::Int(number),
            Err(_) => Value::BigInt(digits.as_str().into()),
        },
        DeValue::Float(digits) => digits.as_str().parse().map_or(Value::Null, Value::Float),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::from(time.to_string().as_str()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| value_of_toml(item.get_ref())).collect())
        }
        DeValue::Table(table) => {
            let entry =
                |(name, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
                    (name.get_ref().as_ref().into(), value_of_toml(value.get_ref()))
                };
            Value::Map(in_file_order(table).into_iter().map(entry).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use celeriac_store::{QueueOrder, RedisOptions};

    use super::redis_options;
    use crate::Settings;

    fn options(settings: &Settings) -> RedisOptions {
        redis_options(&settings.broker_transport_options, &settings.result_backend_transport_options)
    }

    #[test]
    fn options_are_a_table_in_a_file_and_json_elsewhere() {
        let mut settings = Settings::default();
        let text = "[broker_transport_options]\nvisibility_timeout = 1.5\npriority_steps = [0, 5]\n\
                    queue_order_strategy = \"priority\"\n\
                    [result_backend_transport_options]\nglobal_keyprefix = \"cup\"\n";
        settings.merge_toml(text, Path::new("c.toml")).unwrap();
        let from_file = options(&settings);
        assert_eq!(from_file.visibility_timeout, Duration::from_millis(1500));
        assert_eq!(from_file.priority_steps, [0, 5]);
        assert_eq!(from_file.queue_order_strategy, QueueOrder::Priority);
        assert_eq!(from_file.result_keyprefix, "cup_");

        settings.set("broker_transport_options", r#"{"global_keyprefix": "tea:"}"#).unwrap();
        let replaced = options(&settings);
        assert_eq!(replaced.global_keyprefix, "tea:");
        assert_eq!(replaced.visibility_timeout, RedisOptions::default().visibility_timeout);
        assert_eq!(replaced.result_keyprefix, "cup_");
    }

    #[test]
    fn a_password_among_the_options_is_not_shown() {
        let mut settings = Settings::default();
        let text = r#"{"sentinel_kwargs": {"password": "secret"}}"#;
        settings.set("broker_transport_options", text).unwrap();
        assert!(!format!("{:?}", settings.broker_transport_options).contains("secret"));
        let cut = settings.set("broker_transport_options", &text[1..]).unwrap_err().to_string();
        assert!(!cut.contains("secret"), "{cut}");
    }

    #[test]
    fn an_option_that_cannot_be_used_is_named_with_its_line() {
        let error = |text: &str| {
            let merged = Settings::default().merge_toml(text, Path::new("c.toml"));
            merged.unwrap_err().to_string()
        };
        assert_eq!(
            error("\nbroker_transport_options = { visibility_timout = 3 }"),
            "c.toml:2: broker_transport_options: expected an option of kombu's transport for Redis, found \
             visibility_timout; did you mean visibility_timeout?"
        );
        assert_eq!(
            error("broker_transport_options = { ack_emulation = false }"),
            "c.toml:1: broker_transport_options: expected true: what is taken is always recorded as lent, found \
             ack_emulation = false"
        );
        assert!(error("broker_transport_options = 3").ends_with("found 3"));
        assert!(error("result_backend_transport_options = { region = \"eu\" }").contains("region"));
    }
}
