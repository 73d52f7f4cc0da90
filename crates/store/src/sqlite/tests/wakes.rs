//! Waking other processes.

use std::time::Duration;

use super::{Folder, consume, fetch, publish};
use crate::sqlite::wake::{Topic, Wake};
use crate::{ConnectOptions, Store};

const LEASE: Duration = Duration::from_secs(60);

fn pipes(folder: &Folder) -> Vec<String> {
    let listed = std::fs::read_dir(format!("{}-wake", folder.file().display()));
    listed.map_or(Vec::new(), |entries| {
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    })
}

/// A fetch in one store is woken by a publish in another that shares nothing but the file.
async fn wakes(waiting: &Store, publishing: &Store) {
    let mut subscription = consume(waiting, LEASE).await;
    let fetch = tokio::spawn(async move {
        fetch(&mut subscription, 1).await;
        subscription
    });
    publishing.broker().publish(vec![publish("a")].into()).await.unwrap();
    fetch.await.unwrap().settler.close().await.unwrap();
}

#[tokio::test]
async fn the_pipes_of_a_store_go_with_it() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    assert_eq!(pipes(&folder), [""; 0], "nobody waits");
    let subscription = consume(&store, LEASE).await;
    assert_eq!(pipes(&folder).len(), 1);
    drop((store, subscription));
    assert_eq!(pipes(&folder), [""; 0]);
}

#[tokio::test]
async fn the_pipe_of_a_dead_process_is_removed_by_whoever_meets_it() {
    let folder = Folder::new();
    let waiting = folder.open(&ConnectOptions::default()).await;
    let publishing = folder.open(&ConnectOptions::default()).await;
    drop(consume(&waiting, LEASE).await);
    let stale = format!("{}-wake/ready-1-0123456789abcdef", folder.file().display());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &*stale,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    wakes(&waiting, &publishing).await;
    assert!(!std::fs::exists(stale).unwrap());
    assert_eq!(pipes(&folder).len(), 1, "the living one stays");
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let folder = Folder::new();
    let deep = (0..8).fold(folder.0.path().to_owned(), |path, _| path.join("x".repeat(120)));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("tasks.db");
    // SQLite itself takes paths of up to 512 bytes.
    let path =
        if path.as_os_str().len() > 500 { folder.0.path().join("y".repeat(200)).join("t.db") } else { path };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let open = || async {
        let server =
            super::SqliteStore::open("sqlite:///t.db", &path, &ConnectOptions::default()).await.unwrap();
        Store::of("sqlite:///t.db", &std::sync::Arc::new(server))
    };
    wakes(&open().await, &open().await).await;
}

#[tokio::test]
async fn a_pipe_that_is_full_still_wakes() {
    let folder = Folder::new();
    std::fs::write(folder.file(), b"").unwrap();
    let listening = Wake::new(&folder.file(), Box::new(|| {}));
    let ringing = Wake::new(&folder.file(), Box::new(|| {}));
    let mut count = listening.listen(Topic::Ready);
    for _ in 0..200_000 {
        ringing.announce(Topic::Ready.into());
    }
    count.borrow_and_update();
    ringing.announce(Topic::Ready.into());
    tokio::time::timeout(super::DEADLINE, count.changed()).await.expect("it rings").unwrap();
}

#[tokio::test]
async fn a_pipe_that_somebody_removed_is_made_anew() {
    let folder = Folder::new();
    std::fs::write(folder.file(), b"").unwrap();
    let listening = Wake::new(&folder.file(), Box::new(|| {}));
    let ringing = Wake::new(&folder.file(), Box::new(|| {}));
    let mut count = listening.listen(Topic::Ready);
    std::fs::remove_dir_all(format!("{}-wake", folder.file().display())).unwrap();

    listening.repair();
    assert!(count.has_changed().unwrap(), "it looks for what it did not hear");
    count.borrow_and_update();
    ringing.announce(Topic::Ready.into());
    tokio::time::timeout(super::DEADLINE, count.changed()).await.expect("it rings").unwrap();

    let before = pipes(&folder);
    listening.repair();
    assert_eq!(pipes(&folder), before, "a pipe that is there stays");
}

#[tokio::test]
async fn other_topics_do_not_wake() {
    let folder = Folder::new();
    std::fs::write(folder.file(), b"").unwrap();
    let listening = Wake::new(&folder.file(), Box::new(|| {}));
    let ringing = Wake::new(&folder.file(), Box::new(|| {}));
    let ready = listening.listen(Topic::Ready);
    let mut results = listening.listen(Topic::Results);
    ringing.announce(Topic::Results.into());
    tokio::time::timeout(super::DEADLINE, results.changed()).await.expect("it rings").unwrap();
    assert!(!ready.has_changed().unwrap());
}
