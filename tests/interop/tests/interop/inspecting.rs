//! `App::workflow` on Redis: what is told of workflows whose tasks run on workers of both kinds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use celeriac::canvas::{Step, group};
use celeriac::prelude::*;
use celeriac::workflow::{NodeKind, WorkflowOptions};

use super::harness::{Broker, DEADLINE};

const LATER: Duration = Duration::from_secs(3600);

fn task(name: &'static str, id: &'static str, queue: &'static str) -> Signature<i64> {
    Signature::named(name, args![1, 2], kwargs! {}).task_id(id).queue(queue)
}

/// How each task stands, by its id; members of a group that are counted and not told, by how they stand.
async fn standings(app: &App, id: &str) -> BTreeMap<String, &'static str> {
    let tree = app.workflow(id, &WorkflowOptions::default()).await.unwrap();
    let nodes = tree.map_or_else(Vec::new, |tree| tree.nodes);
    let told = nodes.iter().filter_map(|node| match &node.what {
        NodeKind::Task(task) => Some((task.id.as_ref()?.to_string(), task.standing.as_str())),
        NodeKind::Others { count, standing } => Some((format!("{count} more"), *standing)),
        _ => None,
    });
    told.collect()
}

/// Waits until the tasks of a workflow stand like this, whichever of these is asked for.
async fn stand(app: &App, asked: &[&str], expected: &[(&str, &'static str)]) {
    let expected: BTreeMap<String, &'static str> =
        expected.iter().map(|(id, standing)| ((*id).to_owned(), *standing)).collect();
    let until = Instant::now() + DEADLINE;
    for id in asked {
        loop {
            let told = standings(app, id).await;
            if told == expected {
                break;
            }
            assert!(Instant::now() < until, "asked for {id}: {told:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_chord_over_both_kinds_of_workers_tells_how_each_member_stands() {
    let broker = Broker::start();
    let _workers = [broker.stock_canvas_worker(), broker.rust_canvas_worker(&[])];
    let app = broker.app();
    let header = group([
        task("canvas.add", "by-stock", "stock"),
        task("canvas.add", "by-ours", "ours"),
        task("canvas.add", "later", "ours").countdown(LATER),
        task("canvas.add", "waits", "nobody"),
    ]);
    let body =
        Step::<Vec<i64>, i64>::named("canvas.total", args![], kwargs! {}).task_id("body").queue("ours");
    header.then(body).apply_async(&app).await.unwrap();
    // Members that have succeeded are counted.
    let expected =
        [("2 more", "succeeded"), ("later", "scheduled"), ("waits", "ready"), ("body", "not-sent")];
    stand(&app, &["later", "waits", "body"], &expected).await;
}

#[tokio::test]
async fn what_has_ended_is_told_whoever_ran_it() {
    let broker = Broker::start();
    let _workers = [broker.stock_canvas_worker(), broker.rust_canvas_worker(&[])];
    let app = broker.app();
    // Each step leads to the next by the children of its result, whichever kind of worker has stored it.
    let plus = |id: &'static str, queue: &'static str| {
        Step::<i64, i64>::named("canvas.add", args![1], kwargs! {}).task_id(id).queue(queue)
    };
    let failing = Step::<i64, i64>::named("canvas.fail", args![], kwargs! {}).task_id("fails").queue("stock");
    let steps = task("canvas.add", "first", "stock").then(plus("second", "ours")).then(failing);
    steps.apply_async(&app).await.unwrap();
    let expected = [("first", "succeeded"), ("second", "succeeded"), ("fails", "failed")];
    stand(&app, &["first", "second", "fails"], &expected).await;
}

#[tokio::test]
async fn members_that_never_ran_are_told() {
    let broker = Broker::start();
    let app = broker.app();
    let members = group([
        task("canvas.add", "expired", "ours").expires(Duration::ZERO),
        task("canvas.add", "revoked", "ours"),
        task("canvas.unknown", "unknown", "ours"),
        task("canvas.add", "waits", "nobody"),
    ]);
    members.apply_async(&app).await.unwrap();
    app.store().await.unwrap().revocations().revoke(vec![revocation("revoked")]).await.unwrap();
    let _worker = broker.rust_canvas_worker(&[]);
    for (id, expected) in
        [("expired", "revoked"), ("revoked", "revoked"), ("unknown", "failed"), ("waits", "ready")]
    {
        let until = Instant::now() + DEADLINE;
        loop {
            // A group that nobody saved does not lead to those of its members that have ended.
            let told = standings(&app, id).await;
            if told.get(id) == Some(&expected) {
                break;
            }
            assert!(Instant::now() < until, "{id}: {told:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn revocation(id: &str) -> celeriac::store::Revocation {
    celeriac::store::Revocation { task_id: id.into(), terminate: false, expires_after: LATER }
}
