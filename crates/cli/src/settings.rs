//! The last three layers of the settings: the file, the environment and the flags of this command line.

use std::net::SocketAddr;

use celeriac_app::settings::{Place, Problem, SettingsError};
use celeriac_app::{App, Settings};

use crate::args::{Cli, Command, Common};
use crate::failure::Failure;

/// A flag as the user knows it, the setting it stands for, and its value.
pub(crate) type Flag = (&'static str, &'static str, String);

/// The app with all layers of settings, checked.
pub(crate) fn apply(app: App, cli: &Cli) -> Result<App, Failure> {
    let mut settings = app.config().clone();
    layered(&mut settings, cli, environment()).map_err(|error| {
        Failure::because("the settings cannot be used", &error).next(remedy(&error.problem))
    })?;
    Ok(app.settings(|of_app| *of_app = settings))
}

/// Where a worker is asked for metrics and probes, as far as these layers say it: they go before the application's own.
pub(crate) fn metrics_address(cli: &Cli) -> Option<SocketAddr> {
    let mut settings = Settings::default();
    // What is wrong with them is said when they are applied.
    let _ = layered(&mut settings, cli, environment());
    settings.worker_metrics_address
}

fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

fn remedy(problem: &Problem) -> &'static str {
    match problem {
        Problem::Missing | Problem::Unreadable(_) => "name another file with --config or CELERIAC_CONFIG",
        _ => "correct it; settings are named as in Celery",
    }
}

fn layered(
    settings: &mut Settings,
    cli: &Cli,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), SettingsError> {
    let mut blame = Blame::default();
    blame.look(settings, || Place::Code);
    if let Some(file) = cli.common.file_of_settings() {
        settings.merge_file(file)?;
        blame.look(settings, || Place::WholeFile(file.to_owned()));
    }
    for (name, text) in environment {
        settings.merge_environment([(name.clone(), text)])?;
        blame.look(settings, || Place::Variable(name));
    }
    for (flag, setting, text) in flags(cli) {
        settings.merge_flag(flag, setting, &text)?;
        blame.look(settings, || Place::Flag(flag.to_owned()));
    }
    settings.validate().map_err(|error| SettingsError { place: blame.0.unwrap_or(error.place), ..error })
}

/// Since when the settings have been wrong together, if they are: a later layer may put right what one before got wrong.
#[derive(Default)]
struct Blame(Option<Place>);

impl Blame {
    fn look(&mut self, settings: &Settings, place: impl FnOnce() -> Place) {
        match settings.validate() {
            Ok(()) => self.0 = None,
            Err(_) if self.0.is_some() => {}
            Err(_) => self.0 = Some(place()),
        }
    }
}

fn flags(cli: &Cli) -> Vec<Flag> {
    let Common { broker, result_backend, .. } = &cli.common;
    let mut flags = Vec::new();
    if cli.common.app.is_some() {
        // The application has taken them, and says what it made of them.
        if let Command::Worker(args) = &cli.command {
            flags.extend(args.own_flags());
        }
        return flags;
    }
    flags.extend(broker.clone().map(|url| ("--broker", "broker_url", url)));
    flags.extend(result_backend.clone().map(|url| ("--result-backend", "result_backend", url)));
    if let Command::Worker(args) = &cli.command {
        flags.extend(args.flags());
    }
    flags
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn settings(line: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let cli = crate::args::parse("urls", &args, None).unwrap();
        let mut settings = Settings::default();
        let environment = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        layered(&mut settings, &cli, environment).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn flags_go_before_the_environment() {
        let environment = [("CELERIAC_BROKER_URL", "memory://b"), ("CELERIAC_WORKER_CONCURRENCY", "2")];
        let settings = settings("urls worker -b memory://a --time-limit 1m", &environment).unwrap();
        assert_eq!(settings.broker_url, "memory://a");
        assert_eq!(settings.worker_concurrency, Some(2));
        assert_eq!(settings.task_time_limit, Some(std::time::Duration::from_secs(60)));
    }

    #[test]
    fn what_logs_and_files_are_chosen_by_is_no_setting() {
        let environment =
            [("CELERIAC_LOG_LEVEL", "info"), ("CELERIAC_LOG_FORMAT", "json"), ("CELERIAC_CONFIG", "x")];
        assert!(settings("urls queues", &environment).is_ok());
    }

    #[test]
    fn a_flag_with_a_wrong_value_is_named() {
        let error = settings("urls worker --concurrency 0", &[]).unwrap_err();
        assert_eq!(error, "--concurrency: worker_concurrency is 0, so no task could ever run");
    }

    #[test]
    fn what_makes_settings_wrong_together_is_named_and_can_be_put_right() {
        let short = [("CELERIAC_TASK_SOFT_TIME_LIMIT", "20")];
        let error = settings("urls worker --time-limit 10", &short).unwrap_err();
        assert_eq!(error, "--time-limit: task_soft_time_limit is longer than task_time_limit");
        let none = [("CELERIAC_WORKER_CONCURRENCY", "0")];
        let error = settings("urls worker --time-limit 10", &none).unwrap_err();
        assert!(error.starts_with("environment variable CELERIAC_WORKER_CONCURRENCY: "), "{error}");
        assert!(settings("urls worker --concurrency 1", &none).is_ok());
    }
}
