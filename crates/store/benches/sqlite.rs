//! How fast the embedded store is, beside plain SQLite doing the least that any queue must do.
//!
//! `cargo bench --package celeriac-store --bench sqlite -- [MESSAGES] [crowd|chord]`; with `crowd`, only what is one by
//! one beside many, with `chord`, only what the members of a chord cost.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::{GroupId, Message, QueueName, ResultRecord, State, TaskId, TaskName, Value};
use celeriac_store::{
    ChordPart, Closing, ConnectOptions, Consequences, ConsumeOptions, Durability, Finish, NewChord, Publish,
    Route, Settle, Store, StoreResult, connect,
};
use rusqlite::{Connection, params};

const CYCLE: usize = 400;

fn main() {
    let messages = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    if std::env::args().any(|argument| argument == "crowd") {
        return runtime.block_on(crowd(messages));
    }
    if std::env::args().any(|argument| argument == "chord") {
        return runtime.block_on(chord(messages));
    }
    for round in 1..=3 {
        println!("round {round}, {messages} messages: per second, and per second of the thread that writes");
        ceiling(messages);
        runtime.block_on(store(messages, Durability::Normal));
    }
    runtime.block_on(store(messages / 20000 * 4000, Durability::Full));
    runtime.block_on(crowd(messages));
    runtime.block_on(chord(messages));
}

/// The beginning of a measurement, in real time and in time of the processor.
struct Since {
    start: Instant,
    busy: f64,
}

impl Since {
    fn now() -> Self {
        Self { start: Instant::now(), busy: busy() }
    }

    fn report(&self, what: &str, count: usize) {
        let (real, busy) = (self.start.elapsed().as_secs_f64(), busy() - self.busy);
        println!("  {what:<50} {:>9.0} {:>9.0}", count as f64 / real, count as f64 / busy);
    }
}

/// Seconds that the thread which writes has been running; the main thread, while there is none.
fn busy() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = |path: &Path| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
    let mut paths: Vec<_> = threads.map(|thread| thread.path()).collect();
    paths.sort();
    let path = paths.iter().find(|path| names(path).starts_with("sqlite-writer")).or(paths.first());
    // The first number of schedstat is the time on a processor, in nanoseconds.
    let text = path.and_then(|path| std::fs::read_to_string(path.join("schedstat")).ok()).unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

async fn store(messages: usize, durability: Durability) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("bench.db").display());
    let options =
        ConnectOptions { durability, deadline: Duration::from_secs(60), ..ConnectOptions::default() };
    let store = connect(&url, &options).await.expect("a file");
    let name = |what: &str| format!("{what}, {durability:?}");

    for batch in [100, 1000] {
        let since = Since::now();
        publish(&store, messages, batch).await;
        since.report(&name(&format!("published in batches of {batch}")), messages);
    }
    let since = Since::now();
    drain(&store, 2 * messages, None).await;
    since.report(&name("fetched and finished with results"), 2 * messages);
    let since = Since::now();
    let ping = messages / 20;
    ping_pong(&store, ping).await;
    since.report(&name("one by one: published, fetched, finished"), ping);
}

/// One by one, while many others wait for their time and in other queues.
async fn crowd(messages: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("bench.db").display());
    let store = connect(&url, &ConnectOptions::default()).await.expect("a file");
    println!("beside {messages} delayed and {messages} waiting messages:");
    let memory = resident();
    let due = celeriac_store::clock::Clock::system().now().saturating_add(Duration::from_secs(3600));
    for _ in 0..messages / 1000 {
        let delayed = (0..1000).map(|_| Publish { due: Some(due), ..message() });
        let waiting = (0..1000).map(|_| Publish { route: Route::to(&QueueName::new("other")), ..message() });
        store.broker().publish(delayed.chain(waiting).collect()).await.expect("published");
    }
    println!("  resident memory grew by {:.1} MiB to {:.1} MiB", resident() - memory, resident());
    let since = Since::now();
    ping_pong(&store, 2000).await;
    since.report("one by one: published, fetched, finished", 2000);
}

/// Tasks alone beside the same as members of one chord, in turns.
async fn chord(messages: usize) {
    println!("{messages} tasks alone, and as members of one chord:");
    for _ in 0..3 {
        for chord in [None, Some(GroupId::new("chord"))] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let url = format!("sqlite:///{}", folder.path().join("bench.db").display());
            let store = connect(&url, &ConnectOptions::default()).await.expect("a file");
            publish(&store, messages, 1000).await;
            let since = Since::now();
            if let Some(id) = chord.clone() {
                let size = messages as u64 + 1;
                let begin = NewChord { id, size, expires_after: Duration::from_secs(86400) };
                store.groups().begin(vec![begin]).await.expect("begun");
            }
            let name = chord.as_ref().map_or("alone", |_| "in a chord");
            drain(&store, messages, chord.clone()).await;
            since.report(&format!("fetched and finished {name}"), messages);
            if let Some(id) = chord {
                let start = Instant::now();
                let chord = store.groups().chord(&id).await.expect("read").expect("open");
                let members = chord.parts.len();
                println!("  {members} members read in {:?}", start.elapsed());
            }
        }
    }
}

/// Resident memory in MiB, on Linux.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// Four producers, so that encoding and writing overlap.
async fn publish(store: &Store, messages: usize, batch: usize) {
    let producers = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..messages / batch / 4 {
                store.broker().publish((0..batch).map(|_| message()).collect()).await.expect("published");
            }
        })
    });
    for producer in producers.collect::<Vec<_>>() {
        producer.await.expect("a producer");
    }
}

async fn drain(store: &Store, messages: usize, chord: Option<GroupId>) {
    let mut subscription = store.broker().consume(consume(4 * CYCLE)).await.expect("a consumer");
    let (sender, mut taken) = tokio::sync::mpsc::channel::<Vec<Finish>>(8);
    let settler = subscription.settler.clone();
    let finisher = tokio::spawn(async move {
        while let Some(finishes) = taken.recv().await {
            settler.finish(finishes).await.expect("finished");
        }
    });
    let mut left = messages;
    while left > 0 {
        let deliveries = subscription.consumer.fetch(CYCLE).await.expect("deliveries");
        left -= deliveries.len();
        let finishes = deliveries.into_iter().map(|delivery| {
            let id = delivery.message.headers.id.clone().expect("an id");
            Finish { workflow: chord.clone().map(|chord| member(chord, &id)), ..finish(delivery.tag, id) }
        });
        sender.send(finishes.collect()).await.expect("a finisher");
    }
    drop(sender);
    finisher.await.expect("a finisher");
    subscription.settler.close().await.expect("closed");
}

async fn ping_pong(store: &Store, messages: usize) {
    let mut subscription = store.broker().consume(consume(CYCLE)).await.expect("a consumer");
    for _ in 0..messages {
        store.broker().publish(vec![message()].into()).await.expect("published");
        let delivery = subscription.consumer.fetch(1).await.expect("a delivery").remove(0);
        let id = delivery.message.headers.id.clone().expect("an id");
        subscription.settler.finish(vec![finish(delivery.tag, id)]).await.expect("finished");
    }
    subscription.settler.close().await.expect("closed");
}

fn consume(prefetch: usize) -> ConsumeOptions {
    ConsumeOptions {
        queues: vec![QueueName::new("celery")],
        prefetch,
        lease: Duration::from_secs(30),
        worker: "bench@here".to_owned(),
    }
}

fn message() -> Publish {
    let id = TaskId::fresh();
    let mut message = Message {
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        body: Bytes::from_static(
            b"[[1, 2], {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": null, \"chord\": null}]",
        ),
        ..Message::default()
    };
    message.headers.lang = Some("rust".into());
    message.headers.task = Some(TaskName::new("bench.noop"));
    message.headers.root_id = Some(id.clone());
    message.headers.argsrepr = Some("(1, 2)".into());
    message.headers.kwargsrepr = Some("{}".into());
    message.headers.origin = Some("gen1234@here".into());
    message.properties.correlation_id = Some(id.as_str().into());
    message.headers.id = Some(id);
    Publish { route: Route::to(&QueueName::new("celery")), message, due: None }
}

fn finish(tag: celeriac_store::DeliveryTag, id: TaskId) -> Finish {
    let record = ResultRecord::new(id, State::Success, Value::Int(3), None);
    Finish {
        delivery: Some(tag),
        settle: Settle::Ack,
        result: Some(StoreResult::new(record, Duration::from_secs(86400))),
        follow_ups: Vec::new(),
        workflow: None,
    }
}

/// What a task means for its chord.
fn member(chord: GroupId, id: &TaskId) -> Box<Consequences> {
    let part = ChordPart {
        chord,
        member: id.clone(),
        index: Some(1),
        state: State::Success,
        result: Value::Int(3),
        adds: 0,
        expires_after: Duration::from_secs(86400),
        closing: Closing::Ask,
    };
    Box::new(Consequences { parts: vec![part], ..Consequences::default() })
}

/// Insert, claim and delete of the same bytes in one table, in batched transactions, with no results.
fn ceiling(messages: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let connection = open_plain(&folder.path().join("plain.db"));
    let example = message().message;
    let (head, body) = (example.encode_head(), example.body);
    for batch in [100, 1000] {
        let since = Since::now();
        for _ in 0..messages / batch {
            connection.execute_batch("BEGIN IMMEDIATE").expect("plain SQLite works");
            let mut insert = connection
                .prepare_cached("INSERT INTO queue (state, head, body) VALUES (0, ?1, ?2)")
                .expect("plain SQLite works");
            for _ in 0..batch {
                insert.execute(params![head, &body[..]]).expect("plain SQLite works");
            }
            connection.execute_batch("COMMIT").expect("plain SQLite works");
        }
        since.report(&format!("plain inserts in batches of {batch}"), messages);
    }
    let since = Since::now();
    while claim_and_delete(&connection) > 0 {}
    since.report("plain claims and deletes", 2 * messages);
}

fn open_plain(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("plain SQLite works");
    let set_up = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000;
        CREATE TABLE queue (id INTEGER PRIMARY KEY, state INTEGER, head BLOB, body BLOB);
        CREATE INDEX by_state ON queue (state, id)";
    connection.execute_batch(set_up).expect("plain SQLite works");
    connection
}

fn claim_and_delete(connection: &Connection) -> usize {
    let claim = "UPDATE queue SET state = 1 WHERE id IN
        (SELECT id FROM queue WHERE state = 0 ORDER BY id LIMIT 400) RETURNING id, head, body";
    let mut claim = connection.prepare_cached(claim).expect("plain SQLite works");
    let rows = claim.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let claimed: Vec<(i64, Vec<u8>, Vec<u8>)> =
        rows.expect("plain SQLite works").collect::<Result<_, _>>().expect("plain SQLite works");
    connection.execute_batch("BEGIN IMMEDIATE").expect("plain SQLite works");
    let mut delete =
        connection.prepare_cached("DELETE FROM queue WHERE id = ?1").expect("plain SQLite works");
    for (id, ..) in &claimed {
        delete.execute([id]).expect("plain SQLite works");
    }
    connection.execute_batch("COMMIT").expect("plain SQLite works");
    claimed.len()
}
