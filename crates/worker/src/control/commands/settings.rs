//! How the worker is set up: `conf`, `report`.

use celeriac_app::Settings;
use celeriac_app::settings::{SETTINGS, Setting};
use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;
use celeriac_store::without_password;

use crate::control::panel::{Panel, Refusal, ok};

/// What is shown in the place of a secret.
const MASK: &str = "********";

/// Settings with these words in their names are secrets, or may be.
///
/// Source: `HIDDEN_SETTINGS`, `celery/app/utils.py`, Celery 5.7.0.
const HIDDEN: [&str; 5] = ["api", "token", "key", "secret", "pass"];

impl Panel {
    /// The settings of the application, or of a program without one: those that somebody has chosen, or all of them.
    pub(in crate::control) async fn conf(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        if let Some(settings) = self.reply_of_application(command).await? {
            return Ok(settings);
        }
        let all = command.argument("with_defaults").and_then(Value::as_bool).unwrap_or(false);
        let shown = chosen(self.app.config(), all).map(|(setting, text)| (setting.name.into(), value(&text)));
        Ok(Value::Map(shown.collect()))
    }

    /// What a report of an error needs.
    pub(in crate::control) async fn report(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        if let Some(report) = self.reply_of_application(command).await? {
            return Ok(report);
        }
        let settings = self.app.config();
        let mut report = format!(
            "\nsoftware -> celeriac:{}\nplatform -> system:{} arch:{}\nsettings -> transport:{} results:{}\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH,
            self.store.url().split(':').next().unwrap_or_default(),
            without_password(settings.result_backend.as_deref().unwrap_or("disabled")),
        );
        for (setting, text) in chosen(settings, false) {
            report.push_str(&format!("\n{}: {text}", setting.name));
        }
        report.push('\n');
        Ok(ok(report))
    }
}

/// The settings that are not what they are by default, or all of them, with their values and without secrets.
fn chosen(settings: &Settings, all: bool) -> impl Iterator<Item = (&'static Setting, String)> {
    let default = Settings::default();
    SETTINGS.iter().filter_map(move |setting| {
        let text = setting.show(settings);
        (all || text != setting.show(&default)).then(|| (setting, without_secret(setting.name, text)))
    })
}

fn without_secret(name: &str, text: String) -> String {
    match HIDDEN.iter().any(|word| name.contains(word)) {
        true => MASK.to_owned(),
        false if text.contains("://") => without_password(&text),
        false => text,
    }
}

/// A value as it would stand in a program in Python, as far as its text shows that.
fn value(text: &str) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        "" => Value::Null,
        number if number.parse::<i64>().is_ok() => number.parse::<i64>().map_or(Value::Null, Value::Int),
        number if number.starts_with(|first: char| first.is_ascii_digit()) => {
            number.parse().map_or_else(|_| text.into(), Value::Float)
        }
        text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_told_without_secrets() {
        let mut settings = Settings::default();
        assert_eq!(chosen(&settings, false).count(), 0);
        assert_eq!(chosen(&settings, true).count(), SETTINGS.len());
        settings.set("broker_url", "redis://me:secret@host:6379/0").unwrap();
        settings.set("worker_concurrency", "3").unwrap();
        let shown: Vec<_> = chosen(&settings, false).map(|(setting, text)| (setting.name, text)).collect();
        let broker = ("broker_url", "redis://me:***@host:6379/0".to_owned());
        assert!(
            shown.contains(&broker) && shown.contains(&("worker_concurrency", "3".to_owned())),
            "{shown:?}"
        );
        assert_eq!(without_secret("security_key_password", "x".into()), MASK);
    }

    #[test]
    fn values_have_the_types_of_python() {
        let values = ["true", "3", "0.5", "", "celery", "30/m"].map(value);
        let expected =
            [true.into(), 3.into(), Value::Float(0.5), Value::Null, "celery".into(), "30/m".into()];
        assert_eq!(values, expected);
    }
}
