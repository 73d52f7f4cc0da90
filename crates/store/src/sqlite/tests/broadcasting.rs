//! What is left of broadcasts in the file, and what is not.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use celeriac_protocol::{Message, TaskId, Timestamp};

use super::processes::{child, child_argument};
use super::{DEADLINE, Folder, consume};
use crate::clock::{Clock, Hand};
use crate::{ConnectOptions, Error, Listener, Store, WAITING_BROADCASTS};

const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const EXCHANGE: &str = "celeryev";
/// Longer than anything of a broadcast, or of who listens, is kept.
const LATER: Duration = Duration::from_secs(31);

fn message(id: &str, size: usize) -> Message {
    let mut message = Message { body: vec![b' '; size].into(), ..Message::default() };
    message.headers.id = Some(TaskId::new(id));
    message
}

async fn say(store: &Store, id: &str, size: usize) {
    store.broadcasts().broadcast(EXCHANGE, "task.multi", message(id, size)).await.unwrap();
}

/// The id of what is heard next.
async fn heard(listener: &mut dyn Listener) -> String {
    let next = tokio::time::timeout(DEADLINE, listener.next()).await.expect("a broadcast").unwrap();
    next.headers.id.unwrap().as_str().to_owned()
}

async fn listen(store: &Store) -> Box<dyn Listener> {
    store.broadcasts().listen_to_keys(EXCHANGE).await.unwrap()
}

fn ask(folder: &Folder, sql: &str) -> i64 {
    folder.plain().query_one(sql, [], |row| row.get(0)).unwrap()
}

/// How many rows there are of broadcasts, and of those who listen.
fn rows(folder: &Folder) -> [i64; 2] {
    ["broadcast", "listener"].map(|table| ask(folder, &format!("SELECT count(*) FROM {table}")))
}

async fn open(folder: &Folder) -> (Store, Hand) {
    let (clock, hand) = Clock::with_hand(START);
    (folder.open(&ConnectOptions { clock, ..ConnectOptions::default() }).await, hand)
}

#[tokio::test]
async fn what_nobody_listens_to_is_not_written() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let mut other = store.broadcasts().listen("celery.pidbox").await.unwrap();
    let watching = folder.plain();
    // Which another connection sees change with every commit that has written something.
    let version = || -> i64 { watching.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap() };
    let unchanged = version();
    for _ in 0..10 {
        say(&store, "a", 100).await;
    }
    assert_eq!(version(), unchanged, "no transaction has written anything");
    store.broadcasts().broadcast("celery.pidbox", "", message("b", 1)).await.unwrap();
    assert_ne!(version(), unchanged);
    assert_eq!(heard(&mut *other).await, "b");
}

#[tokio::test]
async fn nothing_is_left_when_the_last_listener_has_left() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let (first, mut second) = (listen(&store).await, listen(&store).await);
    say(&store, "a", 100).await;
    assert_eq!(rows(&folder), [1, 2]);
    drop(first);
    say(&store, "b", 100).await;
    assert_eq!(rows(&folder), [2, 1]);
    assert_eq!([heard(&mut *second).await, heard(&mut *second).await], ["a", "b"]);
    drop(second);
    say(&store, "c", 100).await;
    assert_eq!(rows(&folder), [0, 0]);
}

#[tokio::test]
async fn no_more_is_kept_than_may_wait() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let mut idle = listen(&store).await;
    for number in 0..WAITING_BROADCASTS + 50 {
        say(&store, &format!("small-{number}"), 10).await;
    }
    assert_eq!(rows(&folder)[0], WAITING_BROADCASTS as i64);
    // A few large ones take the place of many small ones.
    for number in 0..40 {
        say(&store, &format!("large-{number}"), 1 << 20).await;
    }
    let kept = ask(&folder, "SELECT sum(length(head) + length(body)) FROM broadcast");
    assert!(((31 << 20)..=(33 << 20)).contains(&kept), "{kept} bytes are kept");
    // What is left begins in the middle, and ends with the last.
    let mut last = heard(&mut *idle).await;
    assert_eq!(last, "large-8");
    while last != "large-39" {
        last = heard(&mut *idle).await;
    }
}

#[tokio::test]
async fn where_there_is_no_room_for_all_of_several_none_is_sent() {
    let folder = Folder::new();
    let server = folder.server(&ConnectOptions::default()).await.unwrap();
    let store = Store::of("sqlite:///tasks.db", &std::sync::Arc::new(server.clone()));
    let limit_pages = |more: i64| {
        server.shared.writer.call("limit", move |tx| {
            let pages: i64 = tx.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            tx.connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(()))
        })
    };
    let mut listener = listen(&store).await;
    say(&store, "before", 100).await;
    limit_pages(100).await.unwrap();
    let several = (0..20).map(|number| message(&number.to_string(), 64 << 10)).collect();
    let error = store.broadcasts().broadcast_all(EXCHANGE, "task.multi", several).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    limit_pages(1_000_000).await.unwrap();
    say(&store, "after", 100).await;
    assert_eq!([heard(&mut *listener).await, heard(&mut *listener).await], ["before", "after"]);
}

#[tokio::test]
async fn who_does_not_ask_is_no_listener_in_the_end_and_may_come_back() {
    let folder = Folder::new();
    let (store, hand) = open(&folder).await;
    let mut listener = listen(&store).await;
    say(&store, "early", 100).await;
    hand.advance(LATER);
    say(&store, "unheard", 100).await;
    let worker = consume(&store, LATER * 100).await;
    worker.lease.renew().await.unwrap();
    assert_eq!(rows(&folder), [0, 0]);

    // When it would have renewed its lease.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    let hearing = tokio::spawn(async move { heard(&mut *listener).await });
    let until = tokio::time::Instant::now() + DEADLINE;
    while rows(&folder)[1] == 0 {
        assert!(tokio::time::Instant::now() < until, "it listens again");
        tokio::task::yield_now().await;
    }
    say(&store, "late", 100).await;
    assert_eq!(hearing.await.unwrap(), "late");
}

/// Run in a process of its own until it is killed; does nothing otherwise.
#[tokio::test]
async fn listener() {
    let Some(path) = child_argument() else { return };
    let (clock, _hand) = Clock::with_hand(START);
    let options = ConnectOptions { clock, ..ConnectOptions::default() };
    let store = crate::connect(&format!("sqlite:///{path}"), &options).await.unwrap();
    let mut listener = listen(&store).await;
    println!("listening");
    loop {
        println!("heard {}", heard(&mut *listener).await);
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_listener_that_was_killed() {
    let folder = Folder::new();
    let (store, hand) = open(&folder).await;
    let mut child = child("sqlite::tests::broadcasting::listener", &folder.file()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("listening")), "the child ended by itself");
    say(&store, "told", 100).await;
    assert!(lines.any(|line| line == "heard told"), "another process hears it");
    child.kill().unwrap();
    child.wait().unwrap();
    say(&store, "untold", 100).await;
    assert_eq!(rows(&folder), [2, 1], "nobody knows that it was killed");

    hand.advance(LATER);
    consume(&store, LATER * 100).await.lease.renew().await.unwrap();
    say(&store, "late", 100).await;
    assert_eq!(rows(&folder), [0, 0]);
}
