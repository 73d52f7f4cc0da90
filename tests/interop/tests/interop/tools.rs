//! Programs by which people watch and steer Celery, with our worker: `python/drive_flower.py` runs Flower, and
//! `python/drive_exporter.py` an exporter for Prometheus. `tracing` has
//! OpenTelemetry and `errors` has Sentry.

mod collector;
mod errors;
mod tracing;

use super::apps::Host;
use super::harness::{Broker, on_each_store};

const NODE: &str = "watched@flower";

on_each_store! {
    flower_watches_and_steers_a_worker,
}

async fn flower_watches_and_steers_a_worker(broker: Broker) {
    let host = Host::start_on(broker, "watched", &["-c", "2", "-E", "-n", NODE], &[], 2).await;
    host.drive_with("drive_flower.py", &[NODE]).await;
    let Host { worker, .. } = host;
    let (status, _) = worker.ended().await;
    assert!(status.success(), "it was told to shut down: {status}");
}

#[tokio::test]
async fn an_exporter_makes_metrics_of_what_a_worker_tells() {
    let host = Host::start_with("watched", &["-c", "2", "-n", NODE], &[], 2).await;
    host.drive_with("drive_exporter.py", &[NODE]).await;
    host.end().await;
}
