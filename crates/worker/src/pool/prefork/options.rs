//! How the prefork pool runs: plain data.

use std::path::PathBuf;
use std::time::Duration;

use celeriac_app::App;
use celeriac_app::settings::SETTINGS;
use celeriac_app::trace::Tracer;

use super::frame;
use super::recycle::Limits;
use super::slot::Rules;
use super::spawner::{Program, Source};
use super::template::{HostPool, HostPoolKind, Runs, Template};
use crate::events::Switch;
use crate::pool::PoolKind;

/// How long a task of a Celery application has to clean up beyond its hard time limit.
///
/// Source: billiard/pool.py, `TimeoutHandler._trywaitkill`, billiard 4.3.2.
const HARD_GRACE: Duration = Duration::from_millis(100);

/// What ends a task before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// The end of its child, which runs nothing else.
    Child,
    /// Its child, which then goes on with its other tasks.
    Task,
    /// Nothing but the end of its child with all others, which only the end of the worker is worth.
    Nobody,
}

/// How the prefork pool runs.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many children there are.
    pub(crate) processes: usize,
    /// How many tasks a child takes at once.
    pub(crate) jobs: usize,
    /// What ends a task before its time.
    pub(crate) stopping: Stopping,
    /// Where children come from.
    pub(crate) source: Source,
    /// The node name of the worker.
    pub(crate) node: Box<str>,
    /// The settings of the worker by name, which every child takes over.
    pub(crate) settings: Vec<(String, String)>,
    /// Whether results are stored here that children of another language have encoded.
    pub(crate) takes_results: bool,
    /// Whether events of tasks are sent, for which children of another language show how their tasks end.
    pub(crate) task_events: Switch,
    /// Whether they show how their tasks end for spans, too.
    pub(crate) traces_python: bool,
    /// Takes the spans that children make.
    pub(crate) tracer: Option<Tracer>,
    /// When a child is replaced.
    pub(crate) limits: Limits,
    /// A child that has taken longer than this to start is killed.
    pub(crate) start: Duration,
    /// A child that gives no sign of life for so long after that is killed. It gives four in this time.
    pub(crate) silence: Duration,
    /// How long a child may take to say whether it still runs the task it is to be killed for.
    pub(crate) answer: Duration,
    /// How long a child of several tasks may keep still that was told to stop one of them, before it is killed.
    pub(crate) react: Duration,
    /// How long a child may live after SIGTERM.
    pub(crate) grace: Duration,
    /// The same where its task went beyond the hard time limit.
    pub(crate) hard_grace: Duration,
    /// How long a child without a task may take to end once it was told to.
    pub(crate) leave: Duration,
    /// The largest frame, in bytes.
    pub(crate) frame_limit: usize,
    /// The file that counts kills for want of memory; found by itself unless it is given.
    pub(crate) oom_counter: Option<PathBuf>,
}

impl crate::Options {
    /// When their settings say that a child is replaced.
    fn limits(&self) -> Limits {
        Limits { max_tasks: self.max_tasks_per_child, max_memory: self.max_memory_per_child }
    }
}

impl Options {
    /// So many children of this program with the default times.
    pub(crate) fn new(processes: usize, node: &str) -> Self {
        Self {
            processes,
            jobs: 1,
            stopping: Stopping::Child,
            source: Source::Program(Program::this()),
            node: node.into(),
            settings: Vec::new(),
            takes_results: false,
            task_events: Switch::default(),
            traces_python: false,
            tracer: None,
            limits: Limits::default(),
            start: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            answer: Duration::from_millis(100),
            react: Duration::from_secs(5),
            grace: Duration::from_secs(1),
            hard_grace: Duration::from_secs(1),
            leave: Duration::from_secs(60),
            frame_limit: frame::DEFAULT_LIMIT,
            oom_counter: None,
        }
    }

    /// What the options of a worker ask for, with the settings of its program handed down to the children.
    pub(crate) fn of_worker(app: &App, worker: &crate::Options) -> Self {
        let limits = worker.limits();
        let settings = SETTINGS.iter().map(|it| (it.name.to_owned(), it.show(app.config()))).collect();
        let options = Self::new(worker.processes, &worker.node_name);
        // The handlers of a child's shutdown may take as long as the whole shutdown.
        let leave = options.leave.max(worker.shutdown_timeout.unwrap_or_default());
        let (start, silence) = (worker.proc_alive_timeout, worker.proc_silence_timeout);
        let frame_limit = frame::limit_for(worker.max_body_bytes);
        let task_events = worker.task_events.clone();
        let tracer = app.tracer().cloned();
        Self { limits, task_events, tracer, settings, leave, start, silence, frame_limit, ..options }
    }

    /// The same for the children of a Celery application.
    pub(crate) fn of_host(app: &App, worker: &crate::Options, template: Template) -> Self {
        let HostPool { kind, processes, jobs, .. } = worker.host_pool;
        let stopping = match kind {
            HostPoolKind::Prefork | HostPoolKind::Solo => Stopping::Child,
            HostPoolKind::Threads => Stopping::Nobody,
            HostPoolKind::Gevent | HostPoolKind::Eventlet => Stopping::Task,
        };
        let limits = match kind {
            HostPoolKind::Prefork => worker.limits(),
            // The other pools of Celery have none.
            _ => Limits::default(),
        };
        let takes_results = template.keeps_results_here();
        let source = Source::Template { template, runs: kind.into(), first: 0 };
        Self {
            limits,
            processes,
            jobs,
            stopping,
            source,
            settings: Vec::new(),
            hard_grace: HARD_GRACE,
            takes_results,
            traces_python: worker.traces_python,
            ..Self::of_worker(app, worker)
        }
    }

    /// The same for those that run its coroutines.
    pub(crate) fn of_loops(app: &App, worker: &crate::Options, template: Template) -> Self {
        let HostPool { processes, coroutines, .. } = worker.host_pool;
        let source = Source::Template { template, runs: Runs::Loop, first: processes };
        let settings = Vec::new();
        Self {
            processes,
            jobs: coroutines,
            stopping: Stopping::Task,
            source,
            settings,
            hard_grace: HARD_GRACE,
            traces_python: worker.traces_python,
            ..Self::of_worker(app, worker)
        }
    }

    /// Whether children of another language show how their tasks end.
    pub(super) fn wants_ends(&self) -> bool {
        self.task_events.is_on() || (self.traces_python && self.tracer.is_some())
    }

    /// Which pool this is.
    pub(super) fn kind(&self) -> PoolKind {
        match self.source {
            Source::Program(_) => PoolKind::Prefork,
            Source::Template { runs: Runs::Loop, .. } => PoolKind::Loops,
            Source::Template { .. } => PoolKind::Python,
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let Self { start, silence, answer, react, grace, hard_grace, leave, .. } = *self;
        Rules { start, silence, answer, react, grace, hard_grace, leave }
    }
}

#[cfg(test)]
mod tests {
    use celeriac_app::Settings;

    use super::*;

    #[test]
    fn children_have_the_times_of_the_settings() {
        let mut settings = Settings::default();
        settings.worker_proc_alive_timeout = Duration::from_secs(4);
        settings.worker_proc_silence_timeout = Duration::from_secs(5);
        settings.worker_shutdown_timeout = Duration::from_secs(600);
        let worker = crate::Options::from_settings(&settings, "w");
        let rules = Options::of_worker(&App::new("a"), &worker).rules();
        assert_eq!([rules.start, rules.silence, rules.leave].map(|time| time.as_secs()), [4, 5, 600]);
    }

    #[test]
    fn what_a_worker_decodes_fits_a_frame() {
        let limit = |max_body_bytes| {
            let worker = crate::Options { max_body_bytes, ..crate::Options::default() };
            Options::of_worker(&App::new("a"), &worker).frame_limit
        };
        assert!(limit(1 << 30) > 1 << 30);
        assert_eq!(limit(usize::MAX), u32::MAX as usize, "a length has four bytes");
    }

    #[test]
    fn every_setting_survives_the_way_to_a_child() {
        let app = App::new("a").settings(|settings| {
            settings.broker_url = "sqlite:////tmp/with space.db".to_owned();
            settings.worker_max_tasks_per_child = Some(7);
        });
        let handed_down = Options::of_worker(&app, &crate::Options::default()).settings;
        let mut taken_over = Settings::default();
        for (name, text) in &handed_down {
            taken_over.set(name, text).unwrap();
        }
        assert_eq!(&taken_over, app.config());
    }
}
