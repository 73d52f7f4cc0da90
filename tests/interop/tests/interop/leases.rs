//! What lasts longer than a lease, on a queue that a stock worker shares.

use std::time::{Duration, Instant};

use super::harness::{Attendant, Broker, DEADLINE};

const LEASE: &str = "10";
/// Four times the lease.
const LONG: Duration = Duration::from_secs(40);

/// A task that runs for four leases, and one that waits as long for its time, run once each: a lease is renewed while a
/// task runs, and what is for later is in nobody's hands.
#[tokio::test]
async fn what_outlasts_the_lease_runs_once() {
    let broker = Broker::start();
    let (long, later) = (Attendant::listen().await, Attendant::listen().await);
    let _rust = broker.rust_worker(&[("CELERIAC_WORKER_LEASE", LEASE)]).await;
    let app = broker.app();
    let slow = celeriac_interop::shared_slow.s(long.address()).apply_async(&app).await.unwrap();
    let run = long.run().await;
    assert_eq!(run.kind, "rust", "nobody else is there yet");
    let _stock = broker.python_worker(&[]).await;
    let began = Instant::now();
    let waiting = celeriac_interop::shared_slow.s(later.address()).countdown(LONG);
    let waiting = waiting.apply_async(&app).await.unwrap();

    let mut times = 0;
    let end = tokio::time::sleep(LONG + Duration::from_secs(5));
    tokio::pin!(end);
    loop {
        tokio::select! {
            again = long.accept() => panic!("the long task runs again, in {}", again.kind),
            scheduled = later.accept() => {
                assert!(began.elapsed() >= LONG, "it began after {:?}", began.elapsed());
                times += 1;
                scheduled.end().await;
            }
            () = &mut end => break,
        }
    }
    assert_eq!(times, 1, "the task for later runs once");
    run.end().await;
    assert_eq!(slow.get(DEADLINE).await.unwrap(), "rust");
    waiting.get(DEADLINE).await.unwrap();
}
