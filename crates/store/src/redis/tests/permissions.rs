//! Users whom an ACL keeps from something.

use std::time::Duration;

use celeriac_faults::Server;

use super::desk::{call, consuming, options};
use crate::redis::RedisStore;
use crate::{Broker, Error, connect};

/// A server with a user `me`, who may do what these rules say; and the URL.
fn server(rules: &[&str]) -> (Server, String) {
    let server = Server::start();
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg("me").arg("on").arg(">secret").arg(rules);
    set.exec(&mut server.connection()).unwrap();
    let url = format!("redis://me:secret@127.0.0.1:{}/0", server.port());
    (server, url)
}

#[tokio::test]
async fn a_user_who_may_not_do_all_that_is_needed_learns_it_at_the_start() {
    for rules in [
        &["~*", "resetchannels", "+@all"][..],
        &["~celery*", "~unacked*", "~_kombu*", "&*", "+@all"],
        &["~*", "&*", "+@all", "-client|tracking"],
        &["~*", "&*", "+@all", "-@scripting"],
        &["~*", "&*", "+@read", "+@connection"],
    ] {
        let (_server, url) = server(rules);
        let started = async {
            connect(&url, &options()).await?.broker().consume(consuming(Duration::from_secs(30))).await
        };
        let error = started.await.err().expect("a worker that cannot work does not start");
        assert!(matches!(error, Error::Misconfigured { .. }), "{rules:?}: {error}");
        assert!(error.to_string().contains("ACL"), "{rules:?}: {error}");
    }
}

#[tokio::test]
async fn the_acl_that_is_named_is_enough() {
    let (_server, url) = server(&["~*", "&*", "+@all", "-@admin", "-@dangerous"]);
    let store = RedisStore::open(&url, &options()).await.unwrap();
    store.publish(vec![call("a")].into()).await.unwrap();
    let mut subscription = store.consume(consuming(Duration::from_secs(30))).await.unwrap();
    assert_eq!(subscription.consumer.fetch(1).await.unwrap().len(), 1);
}
