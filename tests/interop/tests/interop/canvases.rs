//! Canvases on workers of either kind, and of both: `python/canvases` has them, `python/canvas_run.py` compares.

use super::harness::Broker;

/// Runs every canvas on stock workers and then at these places: what it comes to must be the same.
async fn same_as_in_celery(places: &[&str]) {
    let broker = Broker::start();
    let _stock = broker.stock_canvas_worker();
    let _ours = broker.rust_canvas_worker(&[]);
    broker.run("canvas_run.py", &[&["stock"], places].concat()).succeed().await;
}

/// A canvas that Celery sends comes to the same in our worker, and where tasks change hands at every step.
#[tokio::test]
async fn canvases_that_celery_sends() {
    same_as_in_celery(&["ours", "ours-then-stock", "stock-then-ours", "shared"]).await;
}

/// A canvas that we send comes to the same in stock workers, in ours, and where tasks change hands at every step.
#[tokio::test]
async fn canvases_that_we_send() {
    let sent = ["sent-by-ours:stock", "sent-by-ours:ours", "sent-by-ours:ours-then-stock"];
    // Those of them that there are in Rust, too.
    let composed = ["composed-by-ours:stock", "composed-by-ours:ours-then-stock"];
    same_as_in_celery(&[&sent[..], &composed].concat()).await;
}

/// What is composed in Rust is enough to speak of.
#[test]
fn many_canvases_are_composed_in_rust() {
    let canvases = celeriac_interop::canvas::composed::ALL;
    assert!(canvases.len() >= 40, "{} canvases", canvases.len());
}
