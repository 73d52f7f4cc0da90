//! A program: its tasks, resources, signal handlers and settings.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use celeriac_protocol::{QueueName, TaskName};
use celeriac_store::Store;
use celeriac_store::clock::Clock;

use crate::Settings;
use crate::client::Client;
use crate::control::Command;
use crate::resource::{MissingResource, Resource, ResourcePlan};
use crate::signals::{Handled, Signal, Signals};
use crate::task::TaskDefinition;
use crate::trace::Tracer;

/// A program: what it can run, and where it sends. Cheap to clone.
///
/// ```
/// use celeriac_app::{App, TaskBody, TaskDefinition, signals};
///
/// let app = App::new("urls")
///     .settings(|settings| settings.task_default_queue = "urls".into())
///     .on(signals::worker_ready, |worker| println!("{} is ready", worker.name))
///     .task(TaskDefinition::new("urls.ping", TaskBody::blocking(|_, _, _| Ok(Default::default()))));
/// assert!(app.find_task("urls.ping").is_some());
/// ```
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    name: Box<str>,
    settings: Settings,
    tasks: HashMap<TaskName, Arc<TaskDefinition>>,
    /// In order of registration, for people.
    order: Vec<TaskName>,
    resources: Vec<Resource>,
    signals: Signals,
    /// Those that its workers answer beside Celery's.
    commands: Vec<Command>,
    /// Of the settings, looked up for every call.
    default_queue: QueueName,
    /// A store that was given rather than named by the settings.
    given_store: Option<Store>,
    clock: Clock,
    tracer: Option<Tracer>,
    client: Arc<Client>,
}

impl App {
    /// A program of this name, with default settings and nothing in it.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        let settings = Settings::default();
        let inner = Inner {
            name: name.into(),
            default_queue: QueueName::new(&settings.task_default_queue),
            settings,
            tasks: HashMap::new(),
            order: Vec::new(),
            resources: Vec::new(),
            signals: Signals::default(),
            commands: Vec::new(),
            given_store: None,
            clock: Clock::system(),
            tracer: None,
            client: Arc::new(Client::new(None, Clock::system())),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Changes settings: the first of their four layers.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let inner = self.edit();
        change(&mut inner.settings);
        inner.default_queue = QueueName::new(&inner.settings.task_default_queue);
        inner.reconnect();
        self
    }

    /// Uses a store that is open already, whatever the settings name.
    #[must_use]
    pub fn with_store(mut self, store: Store) -> Self {
        let inner = self.edit();
        inner.given_store = Some(store);
        inner.reconnect();
        self
    }

    /// Tells the time by this clock, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        let inner = self.edit();
        inner.clock = clock;
        inner.reconnect();
        self
    }

    /// Records spans of what is sent and run by this tracer.
    ///
    /// `celeriac::cli::run` makes one of the environment where the program has none.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Tracer) -> Self {
        self.edit().tracer = Some(tracer);
        self
    }

    /// Registers a task. One of the same name is replaced.
    #[must_use]
    pub fn task(self, task: impl Into<TaskDefinition>) -> Self {
        self.tasks([task.into()])
    }

    /// Registers tasks: `tasks![save_url, count]`.
    #[must_use]
    pub fn tasks(mut self, tasks: impl IntoIterator<Item = TaskDefinition>) -> Self {
        let inner = self.edit();
        for task in tasks {
            let name = task.name.clone();
            if inner.tasks.insert(name.clone(), Arc::new(task)).is_none() {
                inner.order.push(name);
            }
        }
        self
    }

    /// Registers a resource. The order counts: resources are built in it and dropped in reverse.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<Resource>) -> Self {
        self.edit().resources.push(resource.into());
        self
    }

    /// Connects a handler to a signal.
    #[must_use]
    pub fn on<P: 'static, R: Handled>(
        mut self,
        signal: Signal<P>,
        handler: impl Fn(&P) -> R + Send + Sync + 'static,
    ) -> Self {
        self.edit().signals.connect(signal, handler);
        self
    }

    /// Adds a command of remote control, which workers answer. One of the same name is replaced, be it one of Celery's.
    #[must_use]
    pub fn control_command(mut self, command: Command) -> Self {
        let commands = &mut self.edit().commands;
        commands.retain(|other| other.form().name != command.form().name);
        commands.push(command);
        self
    }

    /// The commands of remote control that the program has added, in order of registration.
    pub fn control_commands(&self) -> impl Iterator<Item = &Command> {
        self.inner.commands.iter()
    }

    /// The name of the program.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it is set to.
    pub fn config(&self) -> &Settings {
        &self.inner.settings
    }

    /// Who is told of which signal.
    pub fn signals(&self) -> &Signals {
        &self.inner.signals
    }

    /// What records spans, if something does.
    pub fn tracer(&self) -> Option<&Tracer> {
        self.inner.tracer.as_ref()
    }

    /// The task of this name.
    pub fn find_task(&self, name: &str) -> Option<&Arc<TaskDefinition>> {
        self.inner.tasks.get(name)
    }

    /// All tasks, in order of registration.
    pub fn task_list(&self) -> impl Iterator<Item = &Arc<TaskDefinition>> {
        self.inner.order.iter().filter_map(|name| self.inner.tasks.get(name))
    }

    /// The resources that these tasks ask for, to be built in the process that runs them.
    ///
    /// # Errors
    /// The first task that asks for what nobody registered.
    pub fn resource_plan<'a>(
        &self,
        tasks: impl IntoIterator<Item = &'a TaskDefinition>,
    ) -> Result<ResourcePlan, MissingResource> {
        ResourcePlan::for_tasks(&self.inner.resources, tasks)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn default_queue(&self) -> &QueueName {
        &self.inner.default_queue
    }

    /// Whether 0 is the highest priority in the options of signatures: on Redis, where kombu counts down.
    pub(crate) fn counts_down(&self) -> bool {
        let url = self.inner.given_store.as_ref().map_or(self.inner.settings.broker_url.as_str(), Store::url);
        ["redis", "sentinel"].iter().any(|scheme| url.starts_with(scheme))
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.inner)
    }
}

impl Inner {
    /// Forgets the connection, which may have been made with other settings.
    fn reconnect(&mut self) {
        self.client = Arc::new(Client::new(self.given_store.clone(), self.clock.clone()));
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("name", &self.inner.name).field("tasks", &self.inner.order).finish()
    }
}

/// The definitions of tasks, to register: `app.tasks(tasks![save_url, count])`.
#[macro_export]
macro_rules! tasks {
    ($($task:expr),* $(,)?) => {
        [$($crate::TaskDefinition::from($task)),*]
    };
}
