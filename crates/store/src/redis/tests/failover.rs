//! Sentinels, and the server that takes the place of another.

use std::time::Duration;

use celeriac_faults::{Server, free_port};

use super::desk::{SOON, call, consume, done, fetch, id, open_with, options, patiently, publish};
use crate::{ConnectOptions, Error, Settled, Store, connect};

const LEASE: Duration = Duration::from_secs(60);

/// How long a failover may take. A sentinel that found no time to run for two seconds does nothing for thirty more (`TILT`).
const FAILOVER: Duration = Duration::from_secs(90);

/// A primary, its replica, and three who watch them.
struct Cluster {
    primary: Server,
    replica: Server,
    sentinels: Vec<Server>,
}

impl Cluster {
    /// Starts all of them, and waits until they know each other.
    async fn start() -> Self {
        let password = ["--requirepass", "pw", "--masterauth", "pw"];
        // It copies itself to the replica at once, and does not wait for more of them.
        let at_once = ["--save", "", "--repl-diskless-sync-delay", "0"];
        let primary = Server::with(&[&password[..], &at_once].concat());
        let of = primary.port().to_string();
        let replica = ["--save", "", "--replicaof", "127.0.0.1", &of];
        let replica = Server::with(&[&password[..], &replica].concat());
        let sentinels = (0..3).map(|_| sentinel(primary.port())).collect();
        let cluster = Self { primary, replica, sentinels };
        tokio::time::timeout(FAILOVER, cluster.until_known()).await.expect("they find each other");
        cluster
    }

    /// Every sentinel knows the others and a replica that is there.
    async fn until_known(&self) {
        for sentinel in &self.sentinels {
            let mut connection = sentinel.connection();
            loop {
                let known: std::collections::HashMap<String, String> =
                    redis::cmd("SENTINEL").arg("master").arg("main").query(&mut connection).unwrap();
                let replicas: Vec<std::collections::HashMap<String, String>> =
                    redis::cmd("SENTINEL").arg("replicas").arg("main").query(&mut connection).unwrap();
                let linked = replicas.iter().any(|replica| replica["master-link-status"] == "ok");
                if known["num-other-sentinels"] == "2" && linked {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }

    fn url(&self, login: &str) -> String {
        let hosts: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("sentinel://{login}127.0.0.1:{}", sentinel.port()))
            .collect();
        format!("{}/0?master_name=main", hosts.join(";"))
    }

    /// Puts the replica into the primary's place. Nobody votes: when the votes are split, the next are ten seconds later.
    async fn fail_over(&self) {
        let mut connection = self.sentinels[0].connection();
        let sentinel = |order: &str| redis::cmd("SENTINEL").arg(order).arg("main").to_owned();
        loop {
            let (_, port): (String, u16) =
                sentinel("get-master-addr-by-name").query(&mut connection).unwrap();
            if port == self.replica.port() {
                return;
            }
            // Refused while one is under way, and given up by a sentinel that has not heard of the replica for a while.
            let _ = sentinel("failover").exec(&mut connection);
            tokio::task::yield_now().await;
        }
    }

    async fn open(&self) -> Store {
        let options = ConnectOptions { deadline: SOON, ..options() };
        open_with(&self.url(":pw@"), &options).await
    }
}

/// A sentinel that takes nobody for dead by itself: on a busy machine it might be wrong.
fn sentinel(primary: u16) -> Server {
    let settings = format!(
        "sentinel monitor main 127.0.0.1 {primary} 2\n\
         sentinel auth-pass main pw\n\
         sentinel down-after-milliseconds main 600000\n\
         sentinel failover-timeout main 5000\n"
    );
    let sentinel = Server::on(free_port(), &["FOLDER/sentinel.conf", "--sentinel"], |folder| {
        std::fs::write(folder.join("sentinel.conf"), settings).unwrap();
    });
    // No pause after a moment without the processor. Servers before Redis 7 cannot be told; there it is waited for.
    let _ =
        redis::cmd("SENTINEL").arg("debug").arg(&["tilt-trigger", "600000"]).exec(&mut sentinel.connection());
    sentinel
}

#[tokio::test]
async fn a_failover_is_followed() {
    let mut cluster = Cluster::start().await;
    let store = cluster.open().await;
    let mut subscription = consume(&store, LEASE).await;
    publish(&store, &["before"]).await;
    let before = fetch(&mut subscription).await;
    // What the primary had not passed on when it died is lost with it: wait until the replica has all.
    let mut connection = redis::Client::open(format!("redis://:pw@127.0.0.1:{}", cluster.primary.port()))
        .unwrap()
        .get_connection()
        .unwrap();
    let replicas: u64 = redis::cmd("WAIT").arg(1).arg(30_000).query(&mut connection).unwrap();
    assert_eq!(replicas, 1);
    cluster.primary.kill();
    let after = async {
        cluster.fail_over().await;
        patiently(|| store.broker().publish(vec![call("after")].into())).await;
        fetch(&mut subscription).await
    };
    let after = tokio::time::timeout(FAILOVER, after).await.expect("the store goes on");
    assert_eq!((id(&before[0]), id(&after[0])), ("before", "after"));
    let finishes = [&before[0], &after[0]].map(done).to_vec();
    assert_eq!(subscription.settler.finish(finishes).await.unwrap(), [Settled::Done; 2]);
    assert!(cluster.replica.port() != cluster.primary.port());
}

#[tokio::test]
async fn sentinels_that_know_nothing_or_are_away_are_named() {
    let primary = Server::with(&["--requirepass", "pw"]);
    let sentinel = sentinel(primary.port());
    let (here, gone) = (sentinel.port(), free_port());
    let url = format!("sentinel://:pw@127.0.0.1:{gone};sentinel://127.0.0.1:{here}/0?master_name=other");
    // Each sentinel has an eighth of this.
    let patient = ConnectOptions { deadline: SOON, ..options() };
    let error = connect(&url, &patient).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("knows no primary \"other\"") && text.contains(&format!("127.0.0.1:{gone}: ")),
        "{text}"
    );
    assert!(!text.contains("pw"), "{text}");
    let known = url.replace("other", "main");
    connect(&known, &patient).await.unwrap();
}
