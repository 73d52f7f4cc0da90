//! What goes wrong with files and disks is said, loses nothing, and heals.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{ResultRecord, State, Value};

use super::{Folder, consume, fetch, processes, publish, publish_many, queue, success};
use crate::clock::Clock;
use crate::sqlite::schema::{APPLICATION_ID, STEPS};
use crate::{
    ConnectOptions, ConsumerId, ControlChange, Error, NewChord, Settled, Store, StoreResult, Whose,
    WorkerRecord, connect,
};

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = Folder::new();
    let content = b"Dear diary, today I wrote no database. ".repeat(300);
    std::fs::write(folder.file(), &content).unwrap();
    let error = folder.server(&ConnectOptions::default()).await.err();
    assert!(matches!(error, Some(Error::Corrupt { .. })), "{error:?}");
    assert_eq!(std::fs::read(folder.file()).unwrap(), content);
}

#[tokio::test]
async fn the_database_of_another_program_is_left_alone() {
    let folder = Folder::new();
    folder.plain().execute_batch("CREATE TABLE diary (entry)").unwrap();
    let content = std::fs::read(folder.file()).unwrap();
    let error = folder.server(&ConnectOptions::default()).await.err();
    assert!(matches!(error, Some(Error::Corrupt { .. })), "{error:?}");
    assert_eq!(std::fs::read(folder.file()).unwrap(), content);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = Folder::new();
    drop(folder.open(&ConnectOptions::default()).await);
    folder.plain().pragma_update(None, "user_version", 99).unwrap();
    let error = folder.server(&ConnectOptions::default()).await.err();
    let known = STEPS.len() as u32;
    assert!(
        matches!(error, Some(Error::NewerVersion { found: 99, known: it, .. }) if it == known),
        "{error:?}"
    );
    let version: u32 = folder.plain().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_to_this_one_with_what_is_in_it() {
    let folder = Folder::new();
    let plain = folder.plain();
    plain.execute_batch(STEPS[0]).unwrap();
    plain.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    plain.pragma_update(None, "user_version", 1).unwrap();
    plain.execute_batch("INSERT INTO queue (name) VALUES ('kept')").unwrap();
    let options = ConnectOptions::default();
    let (first, second) = tokio::join!(folder.open(&options), folder.open(&options));
    for store in [first, second] {
        let chord = NewChord { id: "chord".into(), size: 1, expires_after: LEASE };
        store.groups().begin(vec![chord]).await.unwrap();
        drop(store.broadcasts().listen("news").await.unwrap());
        assert_eq!(store.broker().queues(&[]).await.unwrap()[0].queue.as_str(), "kept");
    }
    let version: u32 = plain.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version as usize, STEPS.len());
}

#[tokio::test]
async fn changes_in_a_file_of_version_5_are_counted_and_expire_as_before() {
    let folder = Folder::new();
    let plain = folder.plain();
    STEPS[..5].iter().for_each(|step| plain.execute_batch(step).unwrap());
    plain.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    plain.pragma_update(None, "user_version", 5).unwrap();
    let keep = "INSERT INTO control_change (node, name, value, at, expires_at) VALUES (?1, ?2, CAST('true' AS BLOB), 1, ?3)";
    for (node, name, expires_at) in [("", "x", i64::MAX), ("", "y", i64::MAX), ("gone", "x", 1)] {
        plain.execute(keep, (node, name, expires_at)).unwrap();
    }
    let store = folder.open(&ConnectOptions::default()).await;
    let state = store.control_state();
    let gone = Whose::Node("gone".into());
    assert_eq!(
        (state.kept(&Whose::All).await.unwrap().len(), state.kept(&gone).await.unwrap().len()),
        (2, 0)
    );
    let change = ControlChange { name: "z".into(), value: true.into(), at: Clock::system().now() };
    assert!(!state.keep_if_room(&Whose::All, change.clone(), 2, LEASE).await.unwrap());
    assert!(state.keep_if_room(&Whose::All, change, 3, LEASE).await.unwrap());
}

#[tokio::test]
async fn a_worker_whose_file_was_removed_or_replaced_hears_of_it() {
    let announce = async |store: &Store| {
        let record = WorkerRecord {
            id: ConsumerId("w".to_owned()),
            name: "w@here".to_owned(),
            announced_at: Clock::system().now(),
            valid_for: LEASE,
            facts: Value::Null,
        };
        store.presence().announce(record).await
    };
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    announce(&store).await.unwrap();
    std::fs::remove_file(folder.file()).unwrap();
    assert!(announce(&store).await.unwrap_err().to_string().contains("removed or replaced"));
    std::fs::write(folder.file(), b"").unwrap();
    assert!(announce(&store).await.unwrap_err().to_string().contains("removed or replaced"));
}

/// Publishes enough to fill many pages, and returns once all of it is in the file itself.
async fn fill(folder: &Folder) {
    let store = folder.open(&ConnectOptions::default()).await;
    store.broker().publish(publish_many("a", 2000).into()).await.unwrap();
    drop(store);
    folder.plain().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

/// Opens the damaged file and uses it until the damage shows.
async fn use_damaged(folder: &Folder) -> Error {
    let store = match folder.server(&ConnectOptions::default()).await {
        Ok(server) => Store::of("sqlite:///tasks.db", &std::sync::Arc::new(server)),
        Err(error) => return error,
    };
    let mut subscription = consume(&store, LEASE).await;
    loop {
        let taken = match subscription.consumer.fetch(100).await {
            Ok(taken) => taken,
            Err(error) => return error,
        };
        if let Err(error) = subscription.settler.finish(taken.iter().map(success).collect()).await {
            return error;
        }
    }
}

#[tokio::test]
async fn a_truncated_file_is_reported() {
    let folder = Folder::new();
    fill(&folder).await;
    let file = std::fs::File::options().write(true).open(folder.file()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    let error = use_damaged(&folder).await;
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn damage_in_the_middle_of_a_file_is_reported() {
    let folder = Folder::new();
    fill(&folder).await;
    let mut file = std::fs::File::options().write(true).open(folder.file()).unwrap();
    let middle = file.metadata().unwrap().len() / 3 / 4096 * 4096;
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&[0xff; 40 * 4096]).unwrap();
    let error = use_damaged(&folder).await;
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_path_that_cannot_be_a_file_says_what_is_wrong() {
    let folder = Folder::new();
    let inside = folder.0.path().join("no/such/folder/tasks.db");
    for path in [folder.0.path(), inside.as_path()] {
        let error = connect(&format!("sqlite:///{}", path.display()), &ConnectOptions::default()).await;
        assert!(matches!(error, Err(Error::Misconfigured { .. })), "{error:?}");
    }
}

/// Opens the file in a child process that is not root, because root may write everywhere.
fn error_of_an_ordinary_user(folder: &Folder) -> String {
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.0.path(), open).unwrap();
    processes::run_child("sqlite::tests::faults::ordinary_user", &folder.file(), true)
}

/// Run by [`error_of_an_ordinary_user`] in a process of its own; does nothing otherwise.
#[tokio::test]
async fn ordinary_user() {
    let Some(path) = processes::child_argument() else { return };
    let error = connect(&format!("sqlite:///{path}"), &ConnectOptions::default()).await.err();
    println!("error: {}", error.map_or("none".to_owned(), |error| format!("{error:?}")));
}

#[tokio::test]
async fn a_read_only_file_is_reported() {
    let folder = Folder::new();
    fill(&folder).await;
    std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o444)).unwrap();
    let error = error_of_an_ordinary_user(&folder);
    assert!(error.contains("ReadOnly"), "{error}");
}

#[tokio::test]
async fn a_read_only_folder_is_reported() {
    let folder = Folder::new();
    std::fs::set_permissions(folder.0.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let error = error_of_an_ordinary_user(&folder);
    assert!(error.contains("ReadOnly"), "{error}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_heals() {
    let folder = Folder::new();
    let server = folder.server(&ConnectOptions::default()).await.unwrap();
    let store = Store::of("sqlite:///tasks.db", &std::sync::Arc::new(server.clone()));
    let limit_pages = |pages: i64| {
        server.shared.writer.call("limit", move |tx| {
            tx.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        })
    };
    store.broker().publish(publish_many("kept", 50).into()).await.unwrap();
    limit_pages(60).await.unwrap();
    let mut rounds = 0;
    let error = loop {
        rounds += 1;
        match store.broker().publish(publish_many(&format!("more-{rounds}"), 50).into()).await {
            Ok(()) => assert!(rounds < 100, "the disk never fills"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { .. }) && error.is_transient(), "{error}");
    // What there is can still be worked on, because that frees space.
    let mut subscription = consume(&store, LEASE).await;
    let taken = fetch(&mut subscription, 50).await;
    assert_eq!(taken.len(), 50);
    limit_pages(1_000_000).await.unwrap();
    let settled = subscription.settler.finish(taken.iter().map(success).collect()).await.unwrap();
    assert_eq!(settled, [Settled::Done; 50]);
    store.broker().publish(publish_many("again", 50).into()).await.unwrap();
    let stats = store.broker().queues(&[queue()]).await.unwrap();
    assert_eq!(stats[0].ready, (rounds - 1) * 50 + 50, "what failed was not published in part");
}

#[tokio::test]
async fn a_message_of_300_mib_is_refused_by_its_name() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let mut large = publish("the-large-one");
    large.message.body = Bytes::from(vec![0; 300 << 20]);
    let error = store.broker().publish(vec![publish("small"), large].into()).await.unwrap_err();
    assert!(error.to_string().contains("the-large-one"), "{error}");
    assert!(matches!(error, Error::TooLarge { limit, .. } if limit == 64 << 20), "{error}");
    assert_eq!(store.broker().queues(&[queue()]).await.unwrap()[0].ready, 0);
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let body: Bytes = (0..32_u32 << 20).map(|index| (index % 251) as u8).collect();
    let mut large = publish("large");
    large.message.body = body.clone();
    store.broker().publish(vec![large, publish("small")].into()).await.unwrap();
    let mut subscription = consume(&store, LEASE).await;
    // A batch ends when it has taken a lot of bytes; the rest comes with the next.
    let first = fetch(&mut subscription, 10).await;
    assert!(first.len() == 1 && first[0].message.body == body);
    assert_eq!(fetch(&mut subscription, 10).await.len(), 1);
}

#[tokio::test]
async fn a_relative_path_is_a_file_below_the_current_folder() {
    let folder = Folder::new();
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| Path::new("..")).collect();
    let relative = up.join(folder.file().strip_prefix("/").unwrap());
    let store =
        connect(&format!("sqlite:///{}", relative.display()), &ConnectOptions::default()).await.unwrap();
    let absolute = format!("sqlite:///{}", folder.file().display());
    let same = connect(&absolute, &ConnectOptions::default()).await.unwrap();
    store.broker().publish(vec![publish("a")].into()).await.unwrap();
    assert_eq!(same.broker().queues(&[queue()]).await.unwrap()[0].ready, 1);
}

#[tokio::test]
async fn a_result_that_cannot_be_read_is_said_and_the_file_is_not_blamed() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let record = ResultRecord::new("broken".into(), State::Success, Value::Int(1), None);
    store.results().store(vec![StoreResult::new(record, LEASE)]).await.unwrap();
    folder.plain().execute("UPDATE result SET record = x'00'", []).unwrap();
    let error = store.results().get(&["broken".into()]).await.unwrap_err();
    assert!(matches!(&error, Error::Failed { reason, .. } if reason.contains("cannot be read")), "{error}");
}

#[tokio::test]
async fn a_deadline_without_end_is_as_good_as_any() {
    let endless = ConnectOptions { deadline: Duration::MAX, ..ConnectOptions::default() };
    let folder = Folder::new();
    let store = folder.open(&endless).await;
    store.broker().publish(publish_many("a", 2).into()).await.unwrap();
}

#[tokio::test]
async fn a_rehearsed_fetch_takes_the_write_lock_and_writes_nothing() {
    let folder = Folder::new();
    let hasty = ConnectOptions { deadline: Duration::from_millis(50), ..ConnectOptions::default() };
    let store = folder.open(&hasty).await;
    let log = folder.file().with_extension("db-wal");
    let written = std::fs::metadata(&log).unwrap().len();
    let other = folder.plain();
    // Who reads is in nobody's way.
    other.execute_batch("BEGIN; SELECT count(*) FROM message").unwrap();
    store.broker().rehearse_fetch().await.unwrap();
    other.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
    let error = store.broker().rehearse_fetch().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    other.execute_batch("COMMIT").unwrap();
    store.broker().rehearse_fetch().await.unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().len(), written);
}

#[test]
fn many_may_open_a_new_file_at_once() {
    for round in 0..300 {
        let folder = Folder::new();
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    start.wait();
                    let until = std::time::Instant::now() + Duration::from_micros(fastrand::u64(0..1500));
                    while std::time::Instant::now() < until {
                        std::hint::spin_loop();
                    }
                    let opened = runtime.block_on(folder.server(&ConnectOptions::default()));
                    if let Err(error) = opened {
                        panic!("round {round}: {error}");
                    }
                });
            }
        });
    }
}
