//! A worker dies in the middle of a task; what it had is taken over by one of the other kind.

use celeriac::prelude::*;

use super::harness::{Attendant, Broker, DEADLINE};

async fn send_slow(broker: &Broker, attendant: &Attendant) -> AsyncResult<String> {
    celeriac_interop::shared_slow.s(attendant.address()).apply_async(&broker.app()).await.unwrap()
}

/// A worker in Rust is missed within its lease by another of ours, and what goes back is there for everybody.
#[tokio::test]
async fn a_stock_worker_takes_over_from_a_killed_worker_in_rust() {
    let broker = Broker::start();
    let attendant = Attendant::listen().await;
    let lease = ("CELERIAC_WORKER_LEASE", "3");
    let dying = broker.rust_worker(&[lease]).await;
    let result = send_slow(&broker, &attendant).await;
    let first = attendant.run().await;
    assert_eq!(first.kind, "rust");
    dying.kill();
    let _python = broker.python_worker(&[]).await;
    // It consumes another queue, and sees that the lease has ended.
    let _witness = broker.rust_worker_on("elsewhere", &[lease]).await;
    let second = attendant.run().await;
    assert_eq!(second.kind, "python");
    second.end().await;
    assert_eq!(result.get(DEADLINE).await.unwrap(), "python");
}

/// A stock worker is missed after the visibility timeout, by a worker in Rust.
#[tokio::test]
async fn a_worker_in_rust_takes_over_from_a_killed_stock_worker() {
    let broker = Broker::with_options(r#"{"visibility_timeout": 2}"#, "");
    let attendant = Attendant::listen().await;
    let dying = broker.python_worker(&[]).await;
    let result = send_slow(&broker, &attendant).await;
    let first = attendant.run().await;
    assert_eq!(first.kind, "python");
    dying.kill();
    let _ours = broker.rust_worker(&[]).await;
    let second = attendant.run().await;
    assert_eq!(second.kind, "rust");
    second.end().await;
    assert_eq!(result.get(DEADLINE).await.unwrap(), "rust");
}
