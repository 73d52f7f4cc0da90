//! Messages in one database of a server and results in another.

use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::TaskId;

use super::desk::{consume, done, fetch, options, publish, soon};
use crate::{ConnectOptions, Delivery, Error, Settled, Store, Subscription, connect};

const LEASE: Duration = Duration::from_secs(60);

/// The options for a store at `url` that keeps the results of the other too.
fn sharing(url: &str, results: &str) -> ConnectOptions {
    let mut options = options();
    assert!(options.keep_results_of(results, url), "{url} and {results} are one server");
    options
}

/// Messages in database 0 and results in database 1, as most programs have them.
async fn open(server: &Server) -> Store {
    connect(&server.url(0), &sharing(&server.url(0), &server.url(1))).await.unwrap()
}

/// What the server says of its connections, a line for each but that of the one who asks.
fn connections(server: &Server) -> Vec<String> {
    let all: String = redis::cmd("CLIENT").arg("LIST").query(&mut server.connection()).unwrap();
    all.lines().filter(|line| !line.contains("cmd=client|list")).map(str::to_owned).collect()
}

fn keys(server: &Server, database: u32) -> Vec<String> {
    let mut connection = redis::Client::open(server.url(database)).unwrap().get_connection().unwrap();
    redis::cmd("KEYS").arg("celery-task-meta-*").query(&mut connection).unwrap()
}

/// A message that is published and lent.
async fn lent(store: &Store) -> (Subscription, Vec<Delivery>) {
    let mut subscription = consume(store, LEASE).await;
    publish(store, &["a"]).await;
    let deliveries = fetch(&mut subscription).await;
    (subscription, deliveries)
}

#[tokio::test]
async fn two_databases_of_one_server_take_three_connections() {
    let server = Server::start();
    let store = open(&server).await;
    let ids = [TaskId::new("a")];
    let waiting = tokio::spawn({
        let (store, ids) = (store.clone(), ids.clone());
        async move { store.results().wait(&ids).await }
    });
    let (subscription, deliveries) = lent(&store).await;
    subscription.lease.renew().await.unwrap();
    let finishes = deliveries.iter().map(done).collect();
    assert_eq!(subscription.settler.finish(finishes).await.unwrap(), [Settled::Done]);
    assert_eq!(soon("the result", waiting).await.unwrap().unwrap()[0].task_id, ids[0]);
    let connections = connections(&server);
    assert_eq!(connections.len(), 3, "{connections:?}");
    assert!(connections.iter().all(|line| line.contains(" db=0 ")), "{connections:?}");
    assert_eq!((keys(&server, 0).len(), keys(&server, 1).len()), (0, 1));
}

#[tokio::test]
async fn a_lost_delivery_leaves_no_result_in_the_other_database() {
    let server = Server::start();
    let store = open(&server).await;
    let (subscription, deliveries) = lent(&store).await;
    redis::cmd("DEL").arg("unacked").exec(&mut server.connection()).unwrap();
    let finishes = deliveries.iter().map(done).collect();
    assert_eq!(store.finish(&*subscription.settler, finishes).await.unwrap(), [Settled::Lost]);
    assert_eq!((keys(&server, 0).len(), keys(&server, 1).len()), (0, 0));
}

#[tokio::test]
async fn a_finish_that_may_not_select_the_other_database_changes_nothing() {
    let server = Server::start();
    let store = open(&server).await;
    let (subscription, deliveries) = lent(&store).await;
    let permit = |rule: &str| {
        let mut set = redis::cmd("ACL");
        set.arg("SETUSER").arg("default").arg(rule).exec(&mut server.connection()).unwrap();
    };
    let lent = || redis::cmd("HLEN").arg("unacked").query::<u64>(&mut server.connection()).unwrap();
    permit("-select");
    let finishes: Vec<_> = deliveries.iter().map(done).collect();
    let error = subscription.settler.finish(finishes.clone()).await.unwrap_err();
    assert!(error.to_string().contains("ACL"), "{error}");
    assert_eq!(lent(), 1);
    permit("+select");
    assert_eq!(subscription.settler.finish(finishes).await.unwrap(), [Settled::Done]);
    assert_eq!(lent(), 0);
}

#[tokio::test]
async fn a_database_that_cannot_be_selected_is_named_at_the_start() {
    let server = Server::start();
    let error = connect(&server.url(0), &sharing(&server.url(0), &server.url(99))).await.unwrap_err();
    assert!(
        matches!(error, Error::Misconfigured { .. }) && error.to_string().contains("database 99"),
        "{error}"
    );
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg("me").arg("on").arg(">secret").arg(&["~*", "&*", "+@all", "-select"]);
    set.exec(&mut server.connection()).unwrap();
    let [zero, one] = [0, 1].map(|database| server.url(database).replace("//", "//me:secret@"));
    let error = connect(&zero, &sharing(&zero, &one)).await.unwrap_err();
    assert!(matches!(error, Error::Misconfigured { .. }) && error.to_string().contains("ACL"), "{error}");
}

#[test]
fn one_server_is_the_same_place_for_the_same_user() {
    let shares = |results: &str, url: &str| {
        let mut options = options();
        options.keep_results_of(results, url).then_some(options.redis.result_database)
    };
    assert_eq!(shares("redis://there:6379/1", "redis://there"), Some(Some(1)));
    assert_eq!(shares("redis://there/0", "redis://there/3"), Some(Some(0)));
    assert_eq!(shares("redis+socket:///r?virtual_host=2", "redis+socket:///r"), Some(Some(2)));
    assert_eq!(shares("sentinel://a;b/1?master_name=m", "sentinel://a;b/0?master_name=m"), Some(Some(1)));
    assert_eq!(shares("memory://one", "memory://one"), Some(None));
    for (results, url) in [
        ("redis://there/1", "redis://elsewhere/0"),
        ("redis://there:7000/1", "redis://there/0"),
        ("redis://me:pw@there/1", "redis://there/0"),
        ("redis://:one@there/1", "redis://:other@there/0"),
        ("sentinel://a/1?master_name=m", "sentinel://a/0?master_name=n"),
        ("memory://one", "memory://other"),
        ("sqlite:///one.db", "redis://there/0"),
    ] {
        assert_eq!(shares(results, url), None, "{results} and {url}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_server_reached_with_tls_is_not_the_one_without() {
    let shares = |results: &str, url: &str| options().keep_results_of(results, url);
    assert!(shares("rediss://there/1", "rediss://there/0"));
    assert!(!shares("rediss://there/1", "redis://there/0"));
    assert!(!shares("rediss://there/1?ssl_cert_reqs=none", "rediss://there/0"));
}
