//! Every setting, once: its name, type, default, and what it does.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use celeriac_store::without_password;
use toml::de::DeValue;

use crate::settings::{
    BrokerTransportOptions, Durability, InvalidSetting, ResultTransportOptions, SettingKind,
};
use crate::task::RateLimit;
use crate::{Objectives, Routes};

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ty = $default:expr;)*) => {
        /// What a program is set to. Every field is one setting under Celery's name.
        ///
        /// ```
        /// use celeriac_app::Settings;
        ///
        /// let mut settings = Settings::default();
        /// settings.task_default_queue = "urls".into();
        /// settings.set("worker_concurrency", "8")?;
        /// assert_eq!(settings.worker_concurrency, Some(8));
        /// # Ok::<(), celeriac_app::settings::InvalidSetting>(())
        /// ```
        ///
        /// Its `Debug` shows URLs without their passwords.
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[doc = $doc])* pub $name: $kind,)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl fmt::Debug for Settings {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Settings")$(.field(stringify!($name), &Shown(&self.$name)))*.finish()
            }
        }

        /// Every setting, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                name: stringify!($name),
                expected: <$kind as SettingKind>::EXPECTED,
                doc: concat!($($doc,)*).trim_ascii(),
                show: |settings| settings.$name.show(),
                set_text: |settings, text| {
                    settings.$name = SettingKind::from_text(text)?;
                    Ok(())
                },
                set_toml: |settings, value| {
                    settings.$name = SettingKind::from_toml(value)?;
                    Ok(())
                },
            },)*
        ];
    };
}

/// A value whose URLs are shown without their passwords.
struct Shown<'a, T>(&'a T);

impl<T: fmt::Debug> fmt::Debug for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = format!("{:?}", self.0);
        f.write_str(&if shown.contains("://") { without_password(&shown) } else { shown })
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Celery's name of it, or ours.
    pub name: &'static str,
    /// What a value looks like, for people.
    pub expected: &'static str,
    /// What it does.
    pub doc: &'static str,
    show: fn(&Settings) -> String,
    set_text: fn(&mut Settings, &str) -> Result<(), InvalidSetting>,
    set_toml: fn(&mut Settings, &DeValue<'_>) -> Result<(), InvalidSetting>,
}

impl Setting {
    /// The setting of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// Its value in `settings`, as text that [`Setting::set`] reads. Not for logs: passwords are in it.
    pub fn show(&self, settings: &Settings) -> String {
        (self.show)(settings)
    }

    /// Sets it from text.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn set(&self, settings: &mut Settings, text: &str) -> Result<(), InvalidSetting> {
        (self.set_text)(settings, text)
    }

    /// Sets it from a value of a TOML file.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn set_toml(&self, settings: &mut Settings, value: &DeValue<'_>) -> Result<(), InvalidSetting> {
        (self.set_toml)(settings, value)
    }
}

settings! {
    /// Where messages are kept: `sqlite:///relative.db`, `sqlite:////absolute/path.db`, `redis://host:6379/0`,
    /// `memory://name`.
    broker_url: String = "sqlite:///celeriac.db".to_owned();
    /// How a broker on Redis is used: kombu's `visibility_timeout`, `global_keyprefix`, `priority_steps`, `sep`,
    /// `queue_order_strategy`, `unacked_key`, `unacked_index_key`. All who share it, Celery's programs too, must agree.
    broker_transport_options: BrokerTransportOptions = BrokerTransportOptions::default();
    /// Whether a worker that starts while its store is away waits for it, however long that takes; else it fails. Celery gives
    /// up after `broker_connection_max_retries`, and obeys `broker_connection_retry` where this is not set.
    broker_connection_retry_on_startup: bool = true;
    /// Where results are kept; none is where messages are.
    result_backend: Option<String> = None;
    /// How results on Redis are kept: Celery's `global_keyprefix` for their keys.
    result_backend_transport_options: ResultTransportOptions = ResultTransportOptions::default();
    /// How long results are kept; 0 is for ever.
    result_expires: Duration = Duration::from_secs(24 * 60 * 60);

    /// The queue for tasks that nothing else routes.
    task_default_queue: String = "celery".to_owned();
    /// Queues by task name: exact names first, then patterns such as `"feed.*" = "feeds"` in order.
    task_routes: Routes = Routes::default();
    /// The priority of tasks that say nothing else: 0 (lowest) to 9 (highest).
    task_default_priority: Option<u8> = None;
    /// Whether what follows a task is sent with the priority of that task.
    task_inherit_parent_priority: bool = false;
    /// How arguments are written: `json` or `msgpack`.
    task_serializer: String = "json".to_owned();
    /// How message bodies are compressed: `gzip`, `bzip2` or `zstd`.
    task_compression: Option<String> = None;
    /// How long a revocation is remembered.
    task_revoke_expires: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// How long publishing may take before it fails.
    task_publish_timeout: Duration = Duration::from_secs(5);
    /// Whether results are not stored unless a task says otherwise.
    task_ignore_result: bool = false;
    /// Whether failures are stored although results are ignored.
    task_store_errors_even_if_ignored: bool = false;
    /// Whether `STARTED` is stored when a task starts.
    task_track_started: bool = false;
    /// Whether messages are acknowledged together with the outcome of their task (at least once), and not before it
    /// runs (at most once: what dies with its worker leaves no trace but its state `STARTED`, if that is tracked). Celery's
    /// default is false.
    task_acks_late: bool = true;
    /// The time after which a task is stopped, unless it says otherwise.
    task_time_limit: Option<Duration> = None;
    /// The time after which a task is asked to stop, unless it says otherwise.
    task_soft_time_limit: Option<Duration> = None;
    /// How often a task may start on one worker, unless it says otherwise.
    task_default_rate_limit: Option<RateLimit> = None;

    /// How many blocking tasks run at once on threads, and in how many child processes; none is the number of CPUs.
    worker_concurrency: Option<u32> = None;
    /// How many asynchronous tasks run at once.
    worker_async_concurrency: u32 = 1000;
    /// How many messages a worker takes ahead for each task that it can run at once. 0 is as 1; in Celery it is no limit,
    /// which would empty the queue into the memory of one worker.
    worker_prefetch_multiplier: u32 = 4;
    /// How many tasks a child process runs before a new one takes its place.
    worker_max_tasks_per_child: Option<u32> = None;
    /// By how many KiB of memory a child process may grow, from what it holds when it becomes ready, before a new one
    /// takes its place. Celery counts from zero.
    worker_max_memory_per_child: Option<u64> = None;
    /// How long a child process may take to start, until its program is under way, before it is killed and another one
    /// is started. Resources and the handlers of `worker_process_init` come after that and take as long as they take.
    /// Celery counts the handlers too, and its default is 4 seconds.
    worker_proc_alive_timeout: Duration = Duration::from_secs(30);
    /// How long a child process may give no sign of life after that, before it is killed as hung. What its task does
    /// does not matter: a thread of the child's own gives four signs in this time. Ours; Celery has no such limit.
    worker_proc_silence_timeout: Duration = Duration::from_secs(30);
    /// How long a warm shutdown waits for running tasks before it gives them back. It asks them to stop 5 s earlier, or in
    /// the last fifth of this time if that is shorter. The worker has ended 2 s after it at the latest, so it should be
    /// at least that much shorter than the time after which whoever runs the worker sends SIGKILL.
    worker_shutdown_timeout: Duration = Duration::from_secs(25);
    /// How long a delivered message stays with a worker that gives no sign of life.
    worker_lease: Duration = Duration::from_secs(30);
    /// How often a message is delivered before it is kept as failed: crashes count, retries do not. Its first delivery
    /// always counts, also to a worker that died before the task started: with 1, everything fails that such a worker
    /// had taken ahead. 2 is the least that spares what did not run.
    worker_delivery_limit: u32 = 3;
    /// Whether rate limits are not kept.
    worker_disable_rate_limits: bool = false;
    /// Whether Celery's remote control is heard, where the store carries it (Redis).
    worker_enable_remote_control: bool = true;
    /// The name of the exchange on which remote control is heard, which Celery's programs must have too.
    control_exchange: String = "celery".to_owned();
    /// How long a reply to remote control waits for who asked, where their queue does not say.
    control_queue_expires: Duration = Duration::from_secs(10);
    /// How long the store keeps what remote control has changed of workers (limits, pauses, consumers) after the last worker
    /// that holds to it was there, for those that start later; 0 is not at all, as in Celery.
    control_state_expires: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// Whether events of tasks are sent, for those who watch the worker. Remote control may change it.
    worker_send_task_events: bool = false;
    /// The name of the exchange to which events are sent, which Celery's programs must have too.
    event_exchange: String = "celeryev".to_owned();
    /// How many events of tasks one worker sends in a second at most, and twice as many at once, so that being watched
    /// does not slow it down; 0 is any number. Beyond it some tasks are left out whole, but for failures, retries, rejections
    /// and revocations, which come first. Ours; Celery has no such limit.
    event_rate_limit: u32 = 10_000;

    /// Where a worker serves metrics and probes over HTTP, such as `127.0.0.1:9090`; none is nowhere. There is no
    /// authentication: whoever reaches it reads them, so it belongs on the loopback or behind a network policy.
    worker_metrics_address: Option<SocketAddr> = None;
    /// How soon tasks should start and be done, in seconds, by name or pattern as in `task_routes`; metrics count which
    /// tasks met it: `{ "feed.*" = { response = 1, resolution = 60 } }`.
    task_objectives: Objectives = Objectives::default();

    /// Whether a worker that is traced makes spans for the runs of tasks of a Celery application. For applications that do
    /// not instrument themselves: those of others would have two for each run.
    worker_trace_python_tasks: bool = false;

    /// The largest message or result that is taken, in bytes. A worker decodes bodies of four times this size, because
    /// they may be compressed, and of 256 MiB in any case, because foreign producers know no limit.
    store_message_limit: u64 = 64 << 20;
    /// How long one operation of a store may take.
    store_timeout: Duration = Duration::from_secs(5);
    /// What an embedded store guarantees after a power cut: `normal` or `full`.
    sqlite_durability: Durability = Durability::Normal;
}

impl Settings {
    /// How long results are kept: `result_expires`, of which 0 is for ever, as in Celery.
    pub fn result_lifetime(&self) -> Duration {
        if self.result_expires.is_zero() { Duration::MAX } else { self.result_expires }
    }

    /// Sets one setting from text, as flags do.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), InvalidSetting> {
        match Setting::named(name) {
            Some(setting) => setting.set(self, text),
            None => Err(InvalidSetting { expected: "the name of a setting", found: format!("{name:?}") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let mut settings = Settings::default();
        settings.set("broker_url", "redis://:sec/ret@host/0").unwrap();
        settings.set("result_backend", "rediss://me:sec@ret@host/1").unwrap();
        let options = r#"{"sentinel_kwargs": {"password": "secret"}}"#;
        settings.set("broker_transport_options", options).unwrap();
        let shown = format!("{settings:?} {settings:#?}");
        assert!(!["secret", "sec/", "sec@", "ret@"].iter().any(|part| shown.contains(part)), "{shown}");
        assert!(shown.contains(r#"broker_url: "redis://:***@host/0""#), "{shown}");
        assert!(shown.contains(r#"result_backend: Some("rediss://me:***@host/1")"#), "{shown}");
    }
}
