//! Spans, exported as the environment asks.

use std::io::Write;
use std::time::Duration;

use celeriac_app::App;
use celeriac_app::trace::Tracer;

use crate::args::{Cli, Command};

/// How long the last spans may take to be exported. A worker has ended 27 s after SIGTERM, and with this before the usual 30 s
/// of an orchestrator.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// The program with the tracer of the environment, if its command sends or runs tasks and it has none. What the environment
/// says wrongly is told and is no reason to do nothing.
pub(crate) fn set_up(app: App, cli: &Cli, err: &mut (dyn Write + Send)) -> App {
    let is_traced = matches!(cli.command, Command::Worker(_) | Command::Call(_)) && app.tracer().is_none();
    match is_traced.then(|| of_environment(service(&app, cli))) {
        Some(Ok(Some(tracer))) => app.with_tracer(tracer),
        Some(Err(error)) => {
            let _ = writeln!(err, "warning: nothing is traced: {error}");
            app
        }
        None | Some(Ok(None)) => app,
    }
}

/// How the program is called where nothing else names it: as its Celery application, if it has one.
fn service<'a>(app: &'a App, cli: &'a Cli) -> &'a str {
    let hosted = cli.common.app.as_deref().and_then(|name| name.split(['.', ':']).next());
    hosted.unwrap_or_else(|| app.name())
}

#[cfg(feature = "otlp")]
fn of_environment(service: &str) -> Result<Option<Tracer>, celeriac_app::trace::EnvError> {
    Tracer::from_env(service)
}

#[cfg(not(feature = "otlp"))]
fn of_environment(_service: &str) -> Result<Option<Tracer>, std::convert::Infallible> {
    Ok(None)
}

/// Waits at its end until the last spans are exported: the process may end with that.
pub(crate) struct Last(Option<Tracer>);

impl Last {
    /// The last spans of this program.
    pub(crate) fn of(app: &App) -> Self {
        Self(app.tracer().cloned())
    }

    /// Exports them, and tells where that fails, for a command that has no log.
    pub(crate) fn export(mut self, err: &mut (dyn Write + Send)) {
        let Some(tracer) = self.0.take() else { return };
        let why = match (tracer.flush(LAST_SPANS), tracer.trouble()) {
            (true, None) => return,
            (_, Some(why)) => why,
            (false, None) => format!("the collector has not answered within {} s", LAST_SPANS.as_secs()),
        };
        let _ = writeln!(err, "warning: spans were not exported: {why}");
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(tracer) = &self.0
            && !tracer.flush(LAST_SPANS)
        {
            tracing::warn!("the last spans were not exported");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_app::trace::{Sampler, Span, SpanSink};

    struct Sink(bool, Option<&'static str>);

    impl SpanSink for Sink {
        fn record(&self, _: Span) {}

        fn flush(&self, _: Duration) -> bool {
            self.0
        }

        fn trouble(&self) -> Option<String> {
            self.1.map(str::to_owned)
        }
    }

    #[test]
    fn spans_that_do_not_arrive_are_told_once() {
        for (sink, expected) in [
            (Sink(true, None), ""),
            (Sink(true, Some("it refuses")), "warning: spans were not exported: it refuses\n"),
            (Sink(false, Some("it is away")), "warning: spans were not exported: it is away\n"),
            (
                Sink(false, None),
                "warning: spans were not exported: the collector has not answered within 2 s\n",
            ),
        ] {
            let app = App::new("shop").with_tracer(Tracer::new(Sampler::default(), sink));
            let mut err = Vec::new();
            Last::of(&app).export(&mut err);
            assert_eq!(String::from_utf8(err).unwrap(), expected);
        }
        let mut err = Vec::new();
        Last::of(&App::new("shop")).export(&mut err);
        assert!(err.is_empty());
    }
}
