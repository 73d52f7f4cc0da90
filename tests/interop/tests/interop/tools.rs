//! Programs by which people watch and steer Celery, with our worker: `python/drive_flower.py` runs Flower, and
//! `python/drive_exporter.py` an exporter for Prometheus, `python/drive_prometheus.py` Prometheus itself. `tracing` has
//! OpenTelemetry and `errors` has Sentry.

mod collector;
mod errors;
mod tracing;

use std::process::Command;
use std::time::Duration;

use celeriac::prelude::*;

use super::apps::Host;
use super::harness::{Broker, on_each_store, succeeds};

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

#[tokio::test]
async fn prometheus_answers_what_the_dashboard_and_the_alerts_ask() {
    if !succeeds("prometheus", Command::new("prometheus").arg("--version")) {
        return;
    }
    let address = format!("127.0.0.1:{}", celeriac_faults::free_port());
    let objectives = r#"{ "watched.*" = { response = 0, resolution = 3600 } }"#;
    let options = ["-c", "2", "--prefetch-multiplier", "1", "--metrics", &address];
    let host = Host::start_with("watched", &options, &[("CELERIAC_TASK_OBJECTIVES", objectives)], 2).await;
    // A producer that says when it sends, as Celery's do not, and more than the worker can do: something always waits.
    let app = host.broker.app();
    let producer = tokio::spawn(async move {
        loop {
            app.send_task::<()>("watched.naps", args![], kwargs! {}).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    host.drive_with("drive_prometheus.py", &[&address]).await;
    producer.abort();
    host.end().await;
}
