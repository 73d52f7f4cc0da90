//! Several processes on one file, and what happens when they are killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{DEADLINE, Folder, consume, fetch, publish_many, queue, success};
use crate::{ConnectOptions, connect};

/// Tells a child of these tests which file to work on.
const ARGUMENT: &str = "CELERIAC_TEST_SQLITE_CHILD";
/// Short, because killed consumers are waited for.
const LEASE: Duration = Duration::from_millis(500);
const TASKS: usize = 3000;
const KILLS: usize = 20;

/// The file to work on, if this process is a child.
pub(super) fn child_argument() -> Option<String> {
    std::env::var(ARGUMENT).ok()
}

/// This test program again, with one test in it that does the work of a child.
pub(super) fn child(test: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test program has a path"));
    command.args([test, "--exact", "--nocapture"]).env(ARGUMENT, file).stdout(Stdio::piped());
    command
}

/// Runs a child to its end and returns what it printed; as a user without rights if asked to and if that is possible.
pub(super) fn run_child(test: &str, file: &Path, without_rights: bool) -> String {
    let mut command = child(test, file);
    if without_rights && rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().expect("the child runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Starts a child and waits until it consumes.
fn start_worker(file: &Path) -> Child {
    let mut child = child("sqlite::tests::processes::worker", file).spawn().expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let started = lines.map_while(Result::ok).any(|line| line.contains("consuming"));
    assert!(started, "the child ended by itself");
    child
}

/// Kills a worker that must still be alive.
fn kill(worker: &mut Child) {
    assert!(worker.try_wait().unwrap().is_none(), "a worker ended by itself");
    worker.kill().unwrap();
    worker.wait().unwrap();
}

/// Run by [`start_worker`] in a process of its own until it is killed; does nothing otherwise.
#[tokio::test]
async fn worker() {
    let Some(path) = child_argument() else { return };
    let store = connect(&format!("sqlite:///{path}"), &ConnectOptions::default()).await.unwrap();
    let mut subscription = consume(&store, LEASE).await;
    let renewing = subscription.lease.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            renewing.renew().await.unwrap();
        }
    });
    // The only line, because nobody reads on.
    println!("consuming");
    loop {
        let taken = subscription.consumer.fetch(7).await.unwrap();
        subscription.settler.finish(taken.iter().map(success).collect()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_killed_lose_nothing_and_double_nothing() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let seed = fastrand::u64(..);
    println!("CELERIAC_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let mut workers: Vec<Child> = Vec::new();
    for round in 0..KILLS {
        // Two at a time; the older one is killed in the middle of whatever it does.
        workers.push(start_worker(&folder.file()));
        let messages = publish_many(&format!("r{round}"), TASKS / KILLS);
        store.broker().publish(messages.into()).await.unwrap();
        if workers.len() == 2 {
            let nap = Duration::from_micros(random.u64(..5000));
            // Not to wait for something: the kill has to come at any moment of the loop.
            tokio::time::sleep(nap).await;
            kill(&mut workers.remove(0));
        }
    }
    workers.iter_mut().for_each(kill);

    // What they held comes back when their leases run out, and one consumer does the rest.
    let mut subscription = consume(&store, Duration::from_secs(60)).await;
    let mut again: HashMap<_, usize> = HashMap::new();
    while unfinished(&store).await > 0 {
        let taken = fetch(&mut subscription, 100).await;
        taken.iter().for_each(|delivery| *again.entry(super::id(delivery)).or_default() += 1);
        subscription.settler.finish(taken.iter().map(success).collect()).await.unwrap();
    }
    assert!(again.values().all(|times| *times == 1), "delivered twice to one consumer");
    let plain = folder.plain();
    let count = |table| -> i64 {
        plain.query_one(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!([count("result"), count("message"), count("lent"), count("ready")], [TASKS as i64, 0, 0, 0]);
    let check: String = plain.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// How many tasks are not finished, wherever they are.
async fn unfinished(store: &crate::Store) -> u64 {
    let stats = tokio::time::timeout(DEADLINE, store.broker().queues(&[queue()])).await.unwrap().unwrap();
    stats[0].ready + stats[0].lent.unwrap()
}
