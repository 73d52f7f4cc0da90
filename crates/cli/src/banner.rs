//! What a worker shows when it starts, as Celery's does. Pure.

use std::fmt::Write;

use celeriac_app::App;
use celeriac_app::task::Acks;
use celeriac_store::without_password;
use celeriac_worker::{HostPool, Options};

use crate::table::printable;
use crate::tasks::pool;

/// The pools, and how many tasks each runs at once.
fn pools(options: &Options) -> [(&'static str, usize); 5] {
    let HostPool { processes, jobs, coroutines, .. } = options.host_pool;
    [
        ("async", options.async_concurrency),
        ("threads", options.threads),
        ("prefork", options.processes),
        ("python", processes * jobs),
        ("loops", processes * coroutines),
    ]
}

/// The banner of a worker that starts at this local time.
pub(crate) fn banner(app: &App, options: &Options, started: &str) -> String {
    let settings = app.config();
    let results = settings.result_backend.as_ref().unwrap_or(&settings.broker_url);
    let queues: Vec<String> = options.queues.iter().map(|queue| format!(".> {queue}\n")).collect();
    let mut banner = format!("\n{} v{} (celeriac)\n\n", options.node_name, env!("CARGO_PKG_VERSION"));
    let _ = writeln!(banner, "{} {}, pid {}, {started}\n", os(), std::env::consts::ARCH, std::process::id());
    let lines = [
        ("app", app.name().to_owned()),
        ("transport", without_password(&settings.broker_url)),
        ("results", without_password(results)),
        ("concurrency", concurrency(app, options)),
        ("on a crash", on_a_crash(app, options)),
    ];
    banner.push_str("[config]\n");
    for (label, value) in lines {
        let _ = writeln!(banner, ".> {:<12} {}", format!("{label}:"), printable(&value));
    }
    let _ = write!(banner, "\n[queues]\n{}\n[tasks]\n", queues.concat());
    let mut tasks: Vec<_> = app
        .task_list()
        .map(|task| (task.name.as_str(), pool(task)))
        .filter(|task| !is_built_in(task.0))
        .collect();
    tasks.sort_unstable();
    let widest = tasks.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, pool) in tasks {
        let _ = writeln!(banner, "  . {name:<widest$}  {pool}");
    }
    banner
}

/// Whether every Celery application has this task.
fn is_built_in(name: &str) -> bool {
    name.starts_with("celery.")
}

fn os() -> &'static str {
    std::env::consts::OS
}

/// The pools that the tasks of this app need.
fn concurrency(app: &App, options: &Options) -> String {
    let needed = |(kind, _): &(&str, usize)| app.task_list().any(|task| pool(task) == *kind);
    let shown: Vec<String> = pools(options)
        .iter()
        .filter(|pool| needed(pool))
        .map(|(kind, size)| format!("{size} ({kind})"))
        .collect();
    if shown.is_empty() { "none: there are no tasks".to_owned() } else { shown.join(", ") }
}

/// What happens to a task whose process dies, in one line.
fn on_a_crash(app: &App, options: &Options) -> String {
    let by_default = if app.config().task_acks_late { Acks::Late } else { Acks::Early };
    let acks = |task: &celeriac_app::TaskDefinition| task.options.acks.unwrap_or(by_default);
    let others: Vec<&str> =
        app.task_list().filter(|task| acks(task) != by_default).map(|task| task.name.as_str()).collect();
    let mut line = fate(by_default, options.delivery_limit);
    if !others.is_empty() {
        let other = if by_default == Acks::Late { Acks::Early } else { Acks::Late };
        let _ = write!(line, "; {}: {}", others.join(", "), fate(other, options.delivery_limit));
    }
    line
}

fn fate(acks: Acks, delivery_limit: u32) -> String {
    match acks {
        Acks::Late => {
            format!("a running task runs again, {delivery_limit} times at most, then it is kept as failed")
        }
        Acks::Early => "a running task is lost, because it is acknowledged before it runs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_app::task::Isolation;
    use celeriac_app::{TaskBody, TaskDefinition, TaskOptions};

    fn task(name: &str, body: TaskBody, set: impl FnOnce(&mut TaskOptions)) -> TaskDefinition {
        let mut options = TaskOptions::default();
        set(&mut options);
        TaskDefinition::new(name, body).with_options(options)
    }

    fn example() -> App {
        let threaded = TaskBody::blocking(|_, _, _| Ok(Default::default()));
        let asynchronous = TaskBody::asynchronous(|_, _| async { Ok(Default::default()) });
        App::new("urls")
            .task(task("urls.save_url", threaded.clone(), |_| {}))
            .task(task("urls.fetch", asynchronous, |options| options.acks = Some(Acks::Early)))
            .task(task("celery.backend_cleanup", threaded.clone(), |_| {}))
            .task(task("urls.render", threaded, |options| options.isolation = Isolation::Process))
    }

    fn options() -> Options {
        Options {
            node_name: "celery@box".into(),
            queues: vec!["urls".into(), "slow".into()],
            async_concurrency: 100,
            threads: 4,
            processes: 2,
            ..Options::default()
        }
    }

    #[test]
    fn it_shows_what_the_worker_will_do() {
        let app = example().settings(|settings| settings.broker_url = "redis://me:secret@host/0".into());
        let banner = banner(&app, &options(), "2026-01-31 08:00:00");
        let (head, rest) = banner.split_once("[config]").unwrap();
        assert!(
            head.starts_with(concat!("\ncelery@box v", env!("CARGO_PKG_VERSION"), " (celeriac)\n\n")),
            "{head}"
        );
        let expected = "
.> app:         urls
.> transport:   redis://me:***@host/0
.> results:     redis://me:***@host/0
.> concurrency: 100 (async), 4 (threads), 2 (prefork)
.> on a crash:  a running task runs again, 3 times at most, then it is kept as failed; urls.fetch: a running task is lost, because it is acknowledged before it runs

[queues]
.> urls
.> slow

[tasks]
  . urls.fetch     async
  . urls.render    prefork
  . urls.save_url  threads
";
        assert_eq!(rest, expected);
    }

    #[test]
    fn early_acks_are_said_to_lose_tasks() {
        let app = App::new("urls").settings(|settings| settings.task_acks_late = false);
        assert_eq!(
            on_a_crash(&app, &options()),
            "a running task is lost, because it is acknowledged before it runs"
        );
    }
}
