//! Where a server may be, and who may use it.

use std::time::Duration;

use celeriac_faults::Server;

use super::desk::{consume, fetch, ids, options, publish};
use crate::{Error, Store, connect};

/// Sends something and takes it again.
async fn use_it(store: &Store) {
    publish(store, &["a"]).await;
    let mut subscription = consume(store, Duration::from_secs(60)).await;
    assert_eq!(ids(&fetch(&mut subscription).await), ["a"]);
}

/// The URL with this before its host.
fn as_user(server: &Server, login: &str) -> String {
    server.url(0).replace("//", &format!("//{login}@"))
}

/// Connects, which must fail for good, in words that hold no password.
async fn refused(url: &str) -> String {
    let error = connect(url, &options()).await.unwrap_err();
    assert!(matches!(error, Error::Misconfigured { .. }), "{error}");
    let text = error.to_string();
    assert!(!text.contains("secret"), "{text}");
    text
}

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_does_not() {
    let server = Server::with(&["--requirepass", "secret"]);
    use_it(&connect(&as_user(&server, ":secret"), &options()).await.unwrap()).await;
    let text = refused(&as_user(&server, ":secretly")).await;
    assert!(text.contains("invalid username-password") || text.contains("WRONGPASS"), "{text}");
    refused(&server.url(0)).await;
}

#[tokio::test]
async fn a_user_of_the_servers_list_is_let_in() {
    let user = ["--user", "alice", "on", ">secret@1", "~*", "&*", "+@all"];
    let server = Server::with(&user);
    use_it(&connect(&as_user(&server, "alice:secret%401"), &options()).await.unwrap()).await;
    refused(&as_user(&server, "bob:secret%401")).await;
}

#[tokio::test]
async fn a_database_has_its_own_queues() {
    let server = Server::start();
    let (zero, three) =
        (connect(&server.url(0), &options()).await, connect(&server.url(3), &options()).await);
    publish(&three.unwrap(), &["three"]).await;
    use_it(&zero.unwrap()).await;
    let mut connection = redis::Client::open(server.url(3)).unwrap().get_connection().unwrap();
    assert_eq!(redis::cmd("LLEN").arg("tasks").query::<u64>(&mut connection).unwrap(), 1);
    let error = connect(&server.url(99), &options()).await.unwrap_err();
    assert!(error.to_string().contains("DB index is out of range"), "{error}");
}

#[tokio::test]
async fn a_socket_in_the_file_system_is_a_place() {
    let server = Server::with(&["--unixsocket", "FOLDER/redis.sock"]);
    let path = server.path("redis.sock");
    let url = format!("redis+socket://{}?virtual_host=2", path.display());
    use_it(&connect(&url, &options()).await.unwrap()).await;
}

#[tokio::test]
async fn each_request_counts_as_a_round_trip() {
    let server = Server::start();
    let store = connect(&server.url(0), &options()).await.unwrap();
    let before = store.broker().round_trips();
    for _ in 0..3 {
        store.broker().queues(&[]).await.unwrap();
    }
    assert_eq!(store.broker().round_trips() - before, 3);
    publish(&store, &["a", "b", "c"]).await;
    let many = store.broker().round_trips() - before - 3;
    assert!((1..=3).contains(&many), "one for all messages, and those that send the script: {many}");
}
