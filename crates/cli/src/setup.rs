//! What happens before a worker starts: logging, and the signals by which a program changes either that or the settings.
//!
//! Source: `celery/apps/worker.py`, `Worker.on_before_init` and `on_init_blueprint`, Celery 5.7.0. There, `celeryd_init`
//! comes before logging; here it comes after, so that a handler of it that fails is logged.

use celeriac_app::App;
use celeriac_app::signals::{self, Signal, WorkerNode, WorkerSetup};

use crate::failure::Failure;
use crate::logging;
use crate::session::Session;

/// Sets up the worker of this node name: afterwards the session has its final settings.
pub(crate) fn worker(name: &str, log: logging::Options, session: &mut Session<'_>) -> Result<(), Failure> {
    start_logging(session.app(), name, log)?;
    change_settings(signals::celeryd_init, name, session)?;
    change_settings(signals::celeryd_after_setup, name, session)
}

/// Starts logging in the worker, or leaves it to the program if that asked for it. Children of the worker do the same.
fn start_logging(app: &App, name: &str, log: logging::Options) -> Result<(), Failure> {
    let node = || WorkerNode { name: name.into() };
    if app.signals().is_connected(signals::setup_logging) {
        app.signals().send(signals::setup_logging, node);
    } else {
        logging::start(log)?;
        app.signals().send(signals::after_setup_logger, node);
    }
    Ok(())
}

/// Lets the handlers of a signal change the settings, and checks what they made of them.
fn change_settings(
    signal: Signal<WorkerSetup>,
    name: &str,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let app = session.app();
    if !app.signals().is_connected(signal) {
        return Ok(());
    }
    let setup = WorkerSetup::new(name, app.config().clone());
    let settings = app.signals().send_through(signal, setup).into_settings();
    settings.validate().map_err(|error| {
        Failure::because(format!("the settings cannot be used as {} left them", signal.name()), &error)
            .next("correct the handler of that signal")
    })?;
    if settings != *session.app().config() {
        session.replace_settings(settings);
    }
    Ok(())
}
