//! What is left in a store, seen without the help of its own code.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};

/// Looks into a store.
pub(super) enum Remains {
    File(PathBuf),
    Server(redis::Client),
}

/// What holds nothing once all messages are settled, all chords closed and all leases of the dead have run out.
const TABLES: [&str; 7] = [
    "SELECT count(*) FROM message",
    "SELECT count(*) FROM ready",
    "SELECT count(*) FROM delayed",
    "SELECT count(*) FROM lent",
    "SELECT count(*) FROM failed",
    "SELECT count(*) FROM chord WHERE closed = 0",
    "SELECT count(*) FROM part",
];

impl Remains {
    pub(super) fn in_file(path: PathBuf) -> Self {
        Self::File(path)
    }

    pub(super) fn on_server(url: &str) -> Self {
        Self::Server(redis::Client::open(url).expect("the URL of the harness is one"))
    }

    /// What should not be there.
    pub(super) fn found(&self) -> Vec<String> {
        match self {
            Self::File(path) => found_in_file(path),
            Self::Server(client) => found_on_server(client).expect("the server answers"),
        }
    }
}

fn found_in_file(path: &PathBuf) -> Vec<String> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the file opens");
    let count =
        |query: &&str| file.query_row(query, [], |row| row.get::<_, i64>(0)).expect("its tables are there");
    let found = TABLES.iter().map(|query| (query, count(query))).filter(|(_, count)| *count > 0);
    found.map(|(query, count)| format!("{query}: {count}")).collect()
}

/// Keys that are not results, saved groups or closed chords, and not about workers and queues.
fn found_on_server(client: &redis::Client) -> redis::RedisResult<Vec<String>> {
    let mut connection = client.get_connection()?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection)?;
    let mut found = Vec::new();
    for key in keys {
        let stays = match key.strip_prefix("celery-taskset-meta-") {
            Some(group) => match group.split_once('.') {
                None => true,
                Some((_, "c")) => redis::cmd("GET").arg(&key).query::<String>(&mut connection)? == "done",
                Some(_) => false,
            },
            None => STAYS.iter().any(|begins| key.starts_with(begins)),
        };
        if !stays {
            found.push(key);
        }
    }
    Ok(found)
}

/// What keys begin with that do not tell of single messages, results excepted.
const STAYS: [&str; 11] = [
    "celery-task-meta-",
    "_kombu.binding",
    "celeriac:{tasks}:queues",
    "celeriac:{tasks}:consumers",
    "celeriac:{tasks}:leases",
    "celeriac:{tasks}:calls",
    "celeriac:{tasks}:workers",
    "celeriac:{tasks}:asked",
    "celeriac:{tasks}:sequence",
    "celeriac:{tasks}:nothing",
    "celeriac:{tasks}:returned:",
];
