//! The layers over the defaults: a TOML file, the environment, flags.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest_name;
use crate::settings::{InvalidSetting, SETTINGS, Setting, Settings};

/// What the names of environment variables begin with: `CELERIAC_BROKER_URL` sets `broker_url`.
pub const ENVIRONMENT_PREFIX: &str = "CELERIAC_";

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsError {
    /// Where it was given.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, at a line counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// In a file, at no line of it: it cannot be read, or its settings are wrong together.
    WholeFile(PathBuf),
    /// In an environment variable.
    Variable(String),
    /// In a flag, such as `--concurrency`.
    Flag(String),
    /// In the program itself.
    Code,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::WholeFile(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Code => f.write_str("settings of the program"),
        }
    }
}

/// What is wrong with a setting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing is called that.
    #[error("there is no setting {key}{}", did_you_mean(nearest))]
    Unknown {
        /// What was given.
        key: String,
        /// The known name it most likely means.
        nearest: Option<&'static str>,
    },
    /// The value does not fit.
    #[error("{key}: {source}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// What was expected instead.
        #[source]
        source: InvalidSetting,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// The file is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// The file is not there.
    #[error("this file does not exist")]
    Missing,
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
}

fn did_you_mean(nearest: &Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

impl Settings {
    /// Lays a TOML file over what is set so far.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn merge_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|error| SettingsError {
            place: Place::WholeFile(path.to_owned()),
            problem: match error.kind() {
                std::io::ErrorKind::NotFound => Problem::Missing,
                _ => Problem::Unreadable(error),
            },
        })?;
        self.merge_toml(&text, path)
    }

    /// Lays the text of a TOML file over what is set so far; `path` is for errors.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn merge_toml(&mut self, text: &str, path: &Path) -> Result<(), SettingsError> {
        let place = |at: usize| Place::File { path: path.to_owned(), line: line_of(text, at) };
        let table = DeTable::parse(text).map_err(|error| SettingsError {
            place: place(error.span().map_or(0, |span| span.start)),
            problem: Problem::Syntax(error.message().to_owned()),
        })?;
        for (key, value) in in_file_order(table.get_ref()) {
            let fail = |problem, at| SettingsError { place: place(at), problem };
            let setting = find(key.get_ref()).map_err(|problem| fail(problem, key.span().start))?;
            setting
                .set_toml(self, value.get_ref())
                .map_err(|source| fail(Problem::Invalid { key: setting.name, source }, value.span().start))?;
        }
        Ok(())
    }

    /// Lays environment variables over what is set so far. Those without the prefix `CELERIAC_` are left alone, and
    /// so are those that resemble no setting.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub fn merge_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), SettingsError> {
        for (variable, text) in variables {
            let Some(key) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let problem = match find(&key.to_ascii_lowercase()) {
                Ok(setting) => match setting.set(self, &text) {
                    Ok(()) => continue,
                    Err(source) => Problem::Invalid { key: setting.name, source },
                },
                Err(Problem::Unknown { nearest: None, .. }) => continue,
                Err(problem) => problem,
            };
            return Err(SettingsError { place: Place::Variable(variable), problem });
        }
        Ok(())
    }

    /// Lays one flag over what is set so far: `flag` as the user wrote it, for errors, and the setting it stands for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn merge_flag(&mut self, flag: &str, key: &str, text: &str) -> Result<(), SettingsError> {
        let fail = |problem| SettingsError { place: Place::Flag(flag.to_owned()), problem };
        let setting = find(key).map_err(fail)?;
        setting.set(self, text).map_err(|source| fail(Problem::Invalid { key: setting.name, source }))
    }

    /// Looks for settings that are wrong together or out of range, after all layers.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let problem = if matches!((self.task_soft_time_limit, self.task_time_limit), (Some(s), Some(h)) if s > h)
        {
            "task_soft_time_limit is longer than task_time_limit".to_owned()
        } else if self.task_default_priority.is_some_and(|priority| priority > 9) {
            "task_default_priority is above 9".to_owned()
        } else if self.task_default_queue.is_empty() {
            "task_default_queue is empty".to_owned()
        } else if self.worker_lease < std::time::Duration::from_secs(1) {
            "worker_lease is shorter than a second".to_owned()
        } else if self.worker_proc_alive_timeout.is_zero() {
            "worker_proc_alive_timeout is 0, so no child process could ever start".to_owned()
        } else if self.worker_proc_silence_timeout < std::time::Duration::from_secs(1) {
            "worker_proc_silence_timeout is shorter than a second".to_owned()
        } else if self.worker_delivery_limit == 0 {
            "worker_delivery_limit is 0, so no task could ever run".to_owned()
        } else if self.worker_concurrency == Some(0) {
            "worker_concurrency is 0, so no task could ever run".to_owned()
        } else if self.worker_max_tasks_per_child == Some(0) {
            "worker_max_tasks_per_child is 0, so no child process could ever run a task".to_owned()
        } else if let Some(unknown) = self.unknown_codec() {
            unknown
        } else {
            return Ok(());
        };
        Err(SettingsError { place: Place::Code, problem: Problem::Contradiction(problem) })
    }

    fn unknown_codec(&self) -> Option<String> {
        use celeriac_protocol::{Compression, Serializer};
        let serializer = &self.task_serializer;
        if Serializer::from_name(serializer).is_none() {
            return Some(format!("task_serializer {serializer:?} is not known: use \"json\" or \"msgpack\""));
        }
        let compression = self.task_compression.as_deref()?;
        match Compression::from_name(compression) {
            Some(_) => None,
            None => Some(format!(
                "task_compression {compression:?} is not known: use \"gzip\", \"bzip2\" or \"zstd\""
            )),
        }
    }
}

fn find(key: &str) -> Result<&'static Setting, Problem> {
    Setting::named(key).ok_or_else(|| Problem::Unknown {
        key: key.to_owned(),
        nearest: nearest_name(key, SETTINGS.iter().map(|setting| setting.name)),
    })
}

/// The entries of a table as they stand in the file: the table itself sorts them by key.
pub(super) fn in_file_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<toml::de::DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Durability;

    fn file(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.merge_toml(text, Path::new("celeriac.toml")).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn every_layer_goes_before_the_one_below() {
        let mut settings = Settings {
            task_default_queue: "code".into(),
            result_expires: Duration::from_secs(1),
            worker_lease: Duration::from_secs(2),
            worker_concurrency: Some(3),
            ..Settings::default()
        };
        let text = "result_expires = 10\nworker_lease = 20\nworker_concurrency = 30";
        settings.merge_toml(text, Path::new("c.toml")).unwrap();
        let variables = [("CELERIAC_WORKER_LEASE", "200"), ("CELERIAC_WORKER_CONCURRENCY", "300")];
        settings.merge_environment(variables.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
        settings.merge_flag("--concurrency", "worker_concurrency", "3000").unwrap();

        assert_eq!(settings.task_default_queue, "code");
        assert_eq!(settings.result_expires, Duration::from_secs(10));
        assert_eq!(settings.worker_lease, Duration::from_secs(200));
        assert_eq!(settings.worker_concurrency, Some(3000));
    }

    #[test]
    fn an_unknown_key_names_file_line_and_the_nearest_known_one() {
        let error = file("broker_url = \"memory://x\"\n\nworker_concurency = 4\n").unwrap_err();
        assert_eq!(
            error,
            "celeriac.toml:3: there is no setting worker_concurency; did you mean worker_concurrency?"
        );
    }

    #[test]
    fn a_value_that_does_not_fit_names_file_line_key_and_what_would() {
        let error = file("# ours\nworker_lease = \"soon\"").unwrap_err();
        assert_eq!(
            error,
            "celeriac.toml:2: worker_lease: expected seconds, such as 30 or 0.5, found \"soon\""
        );
    }

    #[test]
    fn a_file_that_is_not_toml_names_the_line() {
        let error = file("task_acks_late = true\nworker_lease == 4").unwrap_err();
        assert!(error.starts_with("celeriac.toml:2: "), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Settings::default().merge_file(Path::new("/nowhere/c.toml")).unwrap_err().to_string();
        assert_eq!(error, "/nowhere/c.toml: this file does not exist");
    }

    #[test]
    fn a_misspelt_variable_is_an_error_and_a_foreign_one_is_not() {
        let mut settings = Settings::default();
        let variable = |name: &str| [(name.to_owned(), "1".to_owned())];
        settings.merge_environment(variable("CELERIAC_TEST_REQUIRE_EVERYTHING")).unwrap();
        let error = settings.merge_environment(variable("CELERIAC_WORKER_LEAS")).unwrap_err().to_string();
        assert_eq!(
            error,
            "environment variable CELERIAC_WORKER_LEAS: there is no setting worker_leas; did you mean worker_lease?"
        );
    }

    #[test]
    fn every_kind_of_value_is_read_from_a_file() {
        let settings = file(
            "task_acks_late = false\nsqlite_durability = \"full\"\ntask_time_limit = 1.5\n\
             task_default_priority = 7\nresult_backend = \"none\"\ntask_default_rate_limit = \"10/m\"",
        )
        .unwrap();
        assert!(!settings.task_acks_late);
        assert_eq!(settings.sqlite_durability, Durability::Full);
        assert_eq!(settings.task_time_limit, Some(Duration::from_millis(1500)));
        assert_eq!(settings.task_default_priority, Some(7));
        assert_eq!(settings.result_backend, None);
        assert_eq!(settings.task_default_rate_limit.unwrap().to_string(), "10/m");
    }

    #[test]
    fn routes_keep_the_order_of_the_file() {
        let settings =
            file("[task_routes]\n\"z.*\" = \"first\"\n\"a.*\" = { queue = \"second\", priority = 3 }\n")
                .unwrap();
        let names: Vec<_> = settings.task_routes.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["z.*", "a.*"]);
        assert_eq!(settings.task_routes.find("a.b").unwrap().priority, Some(3));
    }

    #[test]
    fn a_shown_setting_reads_back() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            let shown = setting.show(&settings);
            setting.set(&mut settings, &shown).unwrap_or_else(|error| panic!("{}: {error}", setting.name));
            assert_eq!(settings, Settings::default(), "{}", setting.name);
        }
    }

    #[test]
    fn contradictions_are_named() {
        let mut settings = file("task_soft_time_limit = 9\ntask_time_limit = 3").unwrap();
        assert!(settings.validate().unwrap_err().to_string().contains("task_soft_time_limit is longer"));
        settings = file("task_serializer = \"pickle\"").unwrap();
        assert!(settings.validate().unwrap_err().to_string().contains("pickle"));
        settings = file("worker_max_tasks_per_child = 0").unwrap();
        assert!(settings.validate().unwrap_err().to_string().contains("worker_max_tasks_per_child is 0"));
        assert!(Settings::default().validate().is_ok());
    }
}
