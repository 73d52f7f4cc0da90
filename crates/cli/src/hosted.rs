//! `-A`: a Celery application, whose tasks run in Python children of the worker.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celeriac_app::settings::Setting;
use celeriac_app::signals::{self, ShuttingDown};
use celeriac_app::task::{Acks, PythonRules};
use celeriac_app::{App, Settings, TaskBody, TaskDefinition, TaskOptions};
use celeriac_protocol::{Compression, Serializer};
use celeriac_store::Binding;
use celeriac_worker::{
    CommandLine, Description, HostPool, HostedBinding, HostedTask, Launch, Refused, Template,
};
use serde_json::{Value, json};

use crate::args::Common;
use crate::celery;
use crate::failure::Failure;
use crate::logging::{Pattern, Patterns};
use crate::worker;

/// Names the Python that has Celery and the application.
const PYTHON: &str = "CELERIAC_PYTHON";

/// How long the receivers of `worker_shutdown` may take, and what has to be told before the end.
pub(crate) const LAST_SIGNAL: Duration = Duration::from_secs(10);

/// As long as running tasks may go on after a warm shutdown began, unless somebody has chosen a limit: in Celery there is none.
pub(crate) const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A Celery application that has been loaded.
pub(crate) struct Hosted {
    /// Forks its children.
    pub(crate) template: Template,
    description: Description,
    /// Set once the worker is told to start anew.
    starts_again: Arc<AtomicBool>,
}

impl Hosted {
    /// Loads the application of the command line, if it names one; `extra` is what only the application may know.
    pub(crate) async fn load(
        common: &Common,
        args: &worker::Args,
        extra: &[String],
    ) -> Result<Option<Self>, Failure> {
        let Some(name) = &common.app else { return Ok(None) };
        let interpreter = args.celery.executable.clone().unwrap_or_else(interpreter);
        let arguments = celery::command_line(name, common, args, extra);
        let started = Template::start(Launch { interpreter: interpreter.clone(), arguments }).await;
        let (template, description) = started.map_err(|error| not_loaded(name, &interpreter, &error))?;
        let hosted = Self { template, description, starts_again: Arc::default() };
        hosted.check()?;
        Ok(Some(hosted))
    }

    /// What the command line says, with the environment and the settings of the application.
    pub(crate) fn command(&self) -> &CommandLine {
        &self.description.command
    }

    /// Refuses what cannot be done and would change what the application does.
    fn check(&self) -> Result<(), Failure> {
        let command = self.command();
        if command.autoscale.is_some() {
            let text = "--autoscale is not supported: the pool has one size";
            return Err(Failure::new(text).next("give -c the larger of its numbers"));
        }
        if command.beat {
            let text = "-B is not supported: the worker has no scheduler in it";
            return Err(Failure::new(text).next("run `celery beat` beside it"));
        }
        Ok(())
    }

    /// The program with the tasks and the settings of the application.
    pub(crate) fn join(&self, app: App) -> Result<App, Failure> {
        let mut problem = None;
        let app = app.settings(|settings| problem = self.set(settings).err());
        if let Some(failure) = problem {
            return Err(failure);
        }
        if let Some(twice) = self.description.tasks.iter().find(|task| app.find_task(&task.name).is_some()) {
            let text = format!("this program and the Celery application both have a task {}", twice.name);
            return Err(Failure::new(text).next("give one of them another name"));
        }
        Ok(self.connect(app.tasks(self.description.tasks.iter().map(definition))))
    }

    /// Hands the signals of the parent on to the receivers of the application.
    fn connect(&self, app: App) -> App {
        let [ready, ending, ended] = [(); 3].map(|()| self.template.clone());
        let starts_again = Arc::clone(&self.starts_again);
        app.on(signals::worker_ready, move |_| ready.signal("worker_ready", json!({}), Duration::ZERO))
            .on(signals::worker_shutting_down, move |end: &ShuttingDown| {
                say_ending(end);
                let how = if end.warm { "Warm" } else { "Cold" };
                // As the handlers of the signals have it.
                let code = u8::from(!end.warm || end.signal.as_deref() == Some("SIGINT"));
                let data = json!({ "sig": end.signal.as_deref(), "how": how, "exitcode": code });
                ending.signal("worker_shutting_down", data, Duration::ZERO);
                let anew = end.warm && end.signal.as_deref() == Some("SIGHUP");
                starts_again.store(anew && !io::stdout().is_terminal(), Ordering::Relaxed);
            })
            .on(signals::worker_shutdown, move |_| ended.signal("worker_shutdown", json!({}), LAST_SIGNAL))
    }

    /// The formats of log lines that the application has chosen. One that cannot be read is as if there were none: the
    /// application has logged in it without an error.
    pub(crate) fn log_patterns(&self) -> Option<Patterns> {
        let text = |name: &str| self.description.settings.get(name).and_then(Value::as_str);
        let pattern = |name: &str, time: &str| Pattern::parse(text(name)?, text(time)).ok();
        Some(Patterns {
            process: pattern("worker_log_format", "worker_log_datefmt")?,
            task: pattern("worker_task_log_format", "worker_task_log_datefmt")?,
        })
    }

    /// Whether lines may have colors.
    pub(crate) fn wants_color(&self) -> bool {
        let setting = self.description.settings.get("worker_log_color").and_then(Value::as_bool);
        self.command().color.or(setting).unwrap_or(true)
    }

    /// Says in the log what this worker cannot do for the application.
    pub(crate) fn warn_of_limits(&self) {
        if let Some(file) = &self.command().state_file {
            let file = file.display();
            tracing::warn!(
                "revocations are kept in the store, for all workers: {file} is neither read nor written"
            );
        }
        for limit in &self.description.unsupported {
            tracing::warn!("the application asks for {}: {}; {}", limit.what, limit.why, limit.way_out);
        }
    }

    /// The pool that it asks for.
    pub(crate) fn pool(&self) -> HostPool {
        self.description.pool
    }

    /// The queues that the application consumes.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &str> {
        self.description.queues.iter().map(String::as_str)
    }

    /// How its queues are bound to exchanges. What has a type that no broker of ours has is left out.
    pub(crate) fn bindings(&self) -> Vec<Binding> {
        let bound = |bound: &HostedBinding| {
            Some(Binding {
                queue: bound.queue.as_str().into(),
                exchange: bound.exchange.as_str().into(),
                exchange_type: bound.exchange_type.parse().ok()?,
                routing_key: bound.routing_key.as_str().into(),
            })
        };
        self.description.bindings.iter().filter_map(bound).collect()
    }

    /// How long running tasks may go on when the worker is to end cold.
    pub(crate) fn soft_shutdown_timeout(&self) -> Option<Duration> {
        let seconds =
            self.description.settings.get("worker_soft_shutdown_timeout").and_then(Value::as_f64)?;
        Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
    }

    /// Whether the worker was told to start anew.
    pub(crate) fn is_to_start_again(&self) -> bool {
        self.starts_again.load(Ordering::Relaxed)
    }

    fn set(&self, settings: &mut Settings) -> Result<(), Failure> {
        settings.worker_shutdown_timeout = NO_LIMIT;
        self.description.settings.iter().try_for_each(|(name, value)| take_over(name, value, settings))
    }
}

/// Takes over one setting of an application, if we know it.
pub(crate) fn take_over(name: &str, value: &Value, settings: &mut Settings) -> Result<(), Failure> {
    let Some(setting) = Setting::named(name) else { return Ok(()) };
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Celery kills a child that is not up by then; here it says how far it has come, and is killed if it says nothing.
    if name == "worker_proc_alive_timeout" && is_shorter(value, settings.worker_proc_alive_timeout) {
        return Ok(());
    }
    if name == "result_backend" && !is_known(&text) {
        return Ok(());
    }
    // How the application writes is between it and its children. What this process sends itself it writes as it can.
    if name == "task_serializer" && Serializer::from_name(&text).is_none()
        || name == "task_compression" && Compression::from_name(&text).is_none()
    {
        return Ok(());
    }
    setting.set(settings, &text).map_err(|error| {
        Failure::because(format!("the setting {name} of the application cannot be used"), &error)
    })
}

/// What Celery prints when a signal ends the worker.
///
/// Source: `celery/apps/worker.py`, `_shutdown_handler`, `on_SIGINT` and `install_worker_restart_handler`, Celery 5.7.0.
fn say_ending(end: &ShuttingDown) {
    let said = match (end.warm, end.signal.as_deref()) {
        (true, Some("SIGHUP")) => "Restarting celery worker",
        (true, Some("SIGINT")) => {
            "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!\n\n\
             worker: Warm shutdown (MainProcess)"
        }
        (true, _) => "worker: Warm shutdown (MainProcess)",
        (false, _) => "worker: Cold shutdown (MainProcess)",
    };
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "\n{said}").and_then(|()| out.flush());
}

fn not_loaded(name: &str, interpreter: &Path, error: &io::Error) -> Failure {
    if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>()) {
        return Failure::new(refused.why.clone()).exits_with(refused.code);
    }
    Failure::new(format!("the Celery application {name} cannot be loaded"))
        .cause(error.to_string())
        .next(format!("its Python is {}; set {PYTHON} to use another", interpreter.display()))
}

fn is_shorter(seconds: &Value, than: Duration) -> bool {
    seconds.as_f64().is_some_and(|seconds| seconds < than.as_secs_f64())
}

/// Whether results at this URL are kept by a store of ours.
fn is_known(url: &str) -> bool {
    ["sqlite:", "redis:", "rediss:", "sentinel:", "memory:"].iter().any(|scheme| url.starts_with(scheme))
}

fn definition(task: &HostedTask) -> TaskDefinition {
    let seconds = |seconds: Option<f64>| seconds.and_then(|time| Duration::try_from_secs_f64(time).ok());
    let mut options = TaskOptions::default();
    options.acks = task.acks_late.map(|late| if late { Acks::Late } else { Acks::Early });
    options.reject_on_worker_lost = Some(task.reject_on_worker_lost.unwrap_or(false));
    options.ignore_result = task.ignore_result;
    // The child stores it: stored here it could come after how the task has ended.
    options.track_started = Some(false);
    options.store_errors_even_if_ignored = task.store_errors_even_if_ignored;
    options.time_limit = seconds(task.time_limit);
    options.soft_time_limit = seconds(task.soft_time_limit);
    options.rate_limit = match &task.rate_limit {
        Value::Null => None,
        Value::String(text) => text.parse().ok(),
        number => number.to_string().parse().ok(),
    };
    TaskDefinition::new(task.name.as_str(), TaskBody::Python(Arc::new(rules(task)))).with_options(options)
}

/// What becomes of a task that does not end by itself.
fn rules(task: &HostedTask) -> PythonRules {
    let mut rules = PythonRules::default();
    rules.acks_on_failure = task.acks_on_failure.unwrap_or(rules.acks_on_failure);
    rules.acks_on_timeout = task.acks_on_timeout.unwrap_or(rules.acks_on_timeout);
    rules.retry_on_worker_lost = task.retry_on_worker_lost.unwrap_or(rules.retry_on_worker_lost);
    rules.max_retries = task.max_retries.map(|most| most.max(0.0) as u32);
    let delay = task.default_retry_delay.and_then(|delay| Duration::try_from_secs_f64(delay).ok());
    rules.default_retry_delay = delay.unwrap_or(rules.default_retry_delay);
    rules.is_coroutine = task.is_coroutine;
    rules.keeps_results_here = task.keeps_results_here.unwrap_or(rules.keeps_results_here);
    rules.hears_of_its_end = task.hears_of_its_end.unwrap_or(rules.hears_of_its_end);
    rules.sends_events = task.send_events.unwrap_or(rules.sends_events);
    rules
}

/// The Python that is named, else that of the environment this program is installed in, else that of the active one.
pub(crate) fn interpreter() -> PathBuf {
    let beside = || {
        let program = std::env::current_exe().ok()?;
        ["python3", "python"].map(|name| program.with_file_name(name)).into_iter().find(|path| path.exists())
    };
    let active = || Some(Path::new(&std::env::var_os("VIRTUAL_ENV")?).join("bin/python"));
    let named = std::env::var_os(PYTHON).map(PathBuf::from);
    named.or_else(beside).or_else(active).unwrap_or_else(|| "python3".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(task: Value) -> TaskOptions {
        definition(&serde_json::from_value(task).unwrap()).options
    }

    #[test]
    fn what_a_task_says_of_itself_is_taken_over() {
        let options = options(json!({
            "name": "t", "acks_late": true, "reject_on_worker_lost": true, "ignore_result": true,
            "rate_limit": "10/m", "time_limit": 2, "soft_time_limit": 0.5,
        }));
        assert_eq!(options.acks, Some(Acks::Late));
        assert_eq!(options.reject_on_worker_lost, Some(true));
        assert_eq!(options.ignore_result, Some(true));
        assert_eq!(options.rate_limit, "10/m".parse().ok());
        assert_eq!(options.time_limit, Some(Duration::from_secs(2)));
        assert_eq!(options.soft_time_limit, Some(Duration::from_millis(500)));
    }

    #[test]
    fn how_an_application_writes_is_its_own_affair() {
        let mut settings = Settings::default();
        take_over("task_serializer", &json!("pickle"), &mut settings).unwrap();
        take_over("task_compression", &json!("brotli"), &mut settings).unwrap();
        assert_eq!((&*settings.task_serializer, &settings.task_compression), ("json", &None));
        take_over("task_serializer", &json!("msgpack"), &mut settings).unwrap();
        assert_eq!(settings.task_serializer, "msgpack");
    }

    #[test]
    fn a_lost_process_fails_a_task_that_says_nothing_of_it() {
        assert_eq!(options(json!({ "name": "t" })).reject_on_worker_lost, Some(false));
    }

    /// Whatever the settings say: else `STARTED` could replace how the task has ended.
    #[test]
    fn that_a_task_has_started_is_left_to_its_child() {
        assert_eq!(options(json!({ "name": "t" })).track_started, Some(false));
    }
}
