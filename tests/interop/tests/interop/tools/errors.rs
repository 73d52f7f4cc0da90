//! Failures of tasks in Python children reach the agents of the application: `python/drive_sentry.py` has Sentry's integration
//! compare ours with those of a stock worker.

use crate::apps::Host;

#[tokio::test]
async fn sentry_hears_of_failures_as_in_a_stock_worker() {
    let host = Host::start_with("sentried", &["-c", "1"], &[("SENTRY_EVENTS", "events")], 1).await;
    host.drive_with("drive_sentry.py", &[]).await;
    host.end().await;
}
