//! What every command works with.

use celeriac_app::control::Form;
use celeriac_app::{App, SendError, Settings};
use celeriac_protocol::{QueueName, Timestamp};
use celeriac_store::Store;
use celeriac_store::clock::Clock;

use crate::failure::Failure;
use crate::output::Output;

/// One run of a command: the app with its final settings, and where to print.
pub(crate) struct Session<'a> {
    app: App,
    /// The commands of remote control that the Celery application adds.
    commands: Vec<Form>,
    clock: Clock,
    pub(crate) output: Output<'a>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(app: App, commands: Vec<Form>, output: Output<'a>) -> Self {
        Self { app, commands, clock: Clock::system(), output }
    }

    pub(crate) fn commands_of_application(&self) -> &[Form] {
        &self.commands
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn app_name(&self) -> &str {
        self.app.name()
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.app.config()
    }

    /// Goes on with other settings. What the store was opened with counts no more.
    pub(crate) fn replace_settings(&mut self, settings: Settings) {
        self.app = self.app.clone().settings(|of_app| *of_app = settings);
    }

    /// Where tasks go that nothing else routes.
    pub(crate) fn default_queue(&self) -> QueueName {
        QueueName::new(&self.settings().task_default_queue)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The store of the settings.
    pub(crate) async fn store(&self) -> Result<Store, Failure> {
        self.app.store().await.cloned().map_err(not_opened)
    }
}

/// Why the store of the settings cannot be used.
pub(crate) fn not_opened(error: SendError) -> Failure {
    match error {
        // What a task would have to do with it is of no interest here.
        SendError::Store { source, .. } => Failure::because("the store cannot be opened", &source),
        other => Failure::because("the store cannot be opened", &other),
    }
}
