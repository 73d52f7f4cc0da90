//! `celery inspect`, `control`, `status` and `events` towards our worker: `python/drive_shapes.py` runs them, beside a stock worker.

use super::apps::Host;

const NODE: &str = "held@shapes";

async fn drive(scenario: &str) {
    let host = Host::start_with("held", &["-c", "2", "-E", "-n", NODE], &[], 2).await;
    host.drive_with("drive_shapes.py", &[scenario, NODE]).await;
}

#[tokio::test]
async fn every_command_is_answered_in_the_shape_of_a_stock_worker() {
    drive("commands").await;
}

#[tokio::test]
async fn the_programs_of_celery_show_our_worker() {
    drive("programs").await;
}
