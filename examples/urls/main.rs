//! Saves every link of every document below a folder: one task for each document, one database connection for each
//! thread of the worker.
//!
//! ```sh
//! cargo run --release --example urls                                # documents below /usr/share/doc
//! cargo run --release --example urls -- FOLDER --connection both    # what sharing a connection is worth
//! cargo run --release --example urls --features redis -- --store redis://localhost
//! ```

mod report;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use celeriac::prelude::*;
use celeriac::worker::{self, Shutdown};
use clap::{Parser, ValueEnum};

use report::{Progress, Report, read};

/// The connection that all tasks of one thread share.
struct UrlDb(rusqlite::Connection);

static CONNECTIONS_OPENED: AtomicUsize = AtomicUsize::new(0);

impl UrlDb {
    fn open(file: &Path) -> rusqlite::Result<Self> {
        CONNECTIONS_OPENED.fetch_add(1, Ordering::Relaxed);
        let connection = rusqlite::Connection::open(file)?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
        Ok(Self(connection))
    }

    /// A database with no links in it yet.
    fn create(file: &Path) -> rusqlite::Result<Self> {
        let database = Self::open(file)?;
        database.0.execute_batch(
            "DROP TABLE IF EXISTS urls; CREATE TABLE urls (url TEXT, host TEXT, document TEXT)",
        )?;
        Ok(database)
    }

    fn ping(&self) -> rusqlite::Result<()> {
        self.0.query_row("SELECT 1", [], |_| Ok(()))
    }

    fn save(&self, document: &Path, links: &BTreeSet<&str>) -> rusqlite::Result<()> {
        let transaction =
            rusqlite::Transaction::new_unchecked(&self.0, rusqlite::TransactionBehavior::Immediate)?;
        let mut insert = transaction.prepare_cached("INSERT INTO urls VALUES (?1, ?2, ?3)")?;
        for link in links {
            insert.execute((link, host(link), document.to_string_lossy()))?;
        }
        drop(insert);
        transaction.commit()
    }
}

/// Saves the links of one document through the connection that this thread opened when it started.
#[celeriac::task(retry_for = [rusqlite::Error], max_retries = 3)]
fn save_links(database: Local<UrlDb>, document: PathBuf) -> TaskResult<usize> {
    let text = read(&document)?;
    let links = links(&text);
    database.save(&document, &links)?;
    Ok(links.len())
}

/// The same through a connection of its own, as one writes it without resources.
#[celeriac::task(retry_for = [rusqlite::Error], max_retries = 3)]
fn save_links_alone(database: Shared<PathBuf>, document: PathBuf) -> TaskResult<usize> {
    let text = read(&document)?;
    let links = links(&text);
    UrlDb::open(&database)?.save(&document, &links)?;
    Ok(links.len())
}

/// The links of a text, each once.
fn links(text: &str) -> BTreeSet<&str> {
    let mut finder = linkify::LinkFinder::new();
    finder.kinds(&[linkify::LinkKind::Url]).links(text).map(|link| link.as_str()).collect()
}

fn host(link: &str) -> &str {
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// Saves every link of every document below a folder.
#[derive(Parser)]
struct Arguments {
    /// Where the documents are: HTML, Markdown, text, and gzip of these [default: /usr/share/doc]
    folder: Option<PathBuf>,
    /// Whether a task uses the connection of its thread or opens its own.
    #[arg(long, value_enum, default_value_t = Connection::Shared)]
    connection: Connection,
    /// Where tasks and results are kept: a file, or the URL of a server. By default a temporary file.
    #[arg(long)]
    store: Option<String>,
    /// The file for the links, written anew.
    #[arg(long, default_value = "urls.sqlite")]
    database: PathBuf,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Connection {
    Shared,
    PerTask,
    Both,
}

/// Where documents are if nobody says: on Debian and macOS, and else in this repository.
const FOLDERS: [&str; 2] = ["/usr/share/doc", concat!(env!("CARGO_MANIFEST_DIR"), "/../..")];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let usual = FOLDERS.map(Path::new).into_iter().find(|folder| folder.is_dir());
    let folder = arguments.folder.as_deref().or(usual).unwrap_or(Path::new("."));
    let documents = report::documents(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    println!("{} documents below {}", documents.len(), folder.display());

    let runtime = tokio::runtime::Runtime::new()?;
    let kinds: &[Connection] = match arguments.connection {
        Connection::Both => &[Connection::Shared, Connection::PerTask],
        ref one => std::slice::from_ref(one),
    };
    let reports: Result<Vec<_>, _> =
        kinds.iter().map(|kind| runtime.block_on(collect(&arguments, *kind, &documents))).collect();
    report::print(&reports?);
    Ok(())
}

/// Sends a task for each document, runs a worker until the last has ended, and reports.
async fn collect(
    arguments: &Arguments,
    kind: Connection,
    documents: &[PathBuf],
) -> Result<Report, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = match arguments.store.clone() {
        Some(url) if url.contains("://") => url,
        Some(file) => format!("sqlite:///{file}"),
        None => format!("sqlite:///{}", folder.path().join("tasks.db").display()),
    };
    let database = arguments.database.clone();
    let links = UrlDb::create(&database)?;
    CONNECTIONS_OPENED.store(0, Ordering::Relaxed);

    let progress = Arc::new(Progress::new(documents.len()));
    let watcher = Arc::clone(&progress);
    let app = App::new("urls")
        .settings(|settings| settings.broker_url = store)
        .resource(Resource::value(database.clone()))
        .resource(Resource::per_thread(move |_process| UrlDb::open(&database)).check(UrlDb::ping))
        .on(signals::task_postrun, move |run| watcher.ended(run));
    // Arguments are text, and so a file whose name is none cannot be one.
    let (documents, unnamed): (Vec<_>, Vec<_>) =
        documents.iter().partition(|document| document.to_str().is_some());
    let mut failures: Vec<_> =
        unnamed.into_iter().map(|document| (document.clone(), "its name is not UTF-8".to_owned())).collect();
    let (app, calls): (_, Vec<_>) = match kind {
        Connection::PerTask => (
            app.tasks(tasks![save_links_alone]),
            documents.iter().map(|document| save_links_alone.s(document)).collect(),
        ),
        _ => {
            (app.tasks(tasks![save_links]), documents.iter().map(|document| save_links.s(document)).collect())
        }
    };

    let (stopper, shutdown) = Shutdown::new();
    let options = worker::Options::from_settings(app.config(), "urls@localhost");
    let program = app.clone();
    let worker = tokio::spawn(async move { worker::run(&program, options, shutdown).await });
    let sent = app.send_many(calls).await?;
    for (document, result) in documents.into_iter().zip(sent) {
        if let Err(error) = result.get(Duration::from_secs(3600)).await {
            failures.push((document.clone(), error.to_string()));
        }
    }
    stopper.terminate();
    worker.await??;

    let name = if kind == Connection::PerTask { "per task" } else { "shared" };
    let opened = CONNECTIONS_OPENED.load(Ordering::Relaxed);
    Ok(progress.report(name, opened, failures, &links.0)?)
}
