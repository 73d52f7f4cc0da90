//! What a sent call looks like on the wire.

use std::time::Duration;

use celeriac_app::protocol::{Timestamp, Value, body};
use celeriac_app::store::clock::Clock;
use celeriac_app::{App, AsyncResult, Routes, SendError, Signature, Task, args, kwargs, sent_at, signals};
use celeriac_macros::task;

use crate::fixture::{app, fetch, run};

#[task(crate = "celeriac_app", name = "proj.add", priority = 3)]
async fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[task(crate = "celeriac_app", bind, name = "proj.spawn")]
async fn spawn(task: &celeriac_app::Context) -> celeriac_app::TaskResult<String> {
    Ok(add.delay(task, 1, 2).await?.id().to_string())
}

#[task(crate = "celeriac_app", bind, name = "proj.count_down")]
async fn count_down(task: &celeriac_app::Context, from: i64) -> celeriac_app::TaskResult<String> {
    Ok(count_down.delay(task, from - 1).await?.id().to_string())
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

fn pinned(name: &str) -> App {
    app(name).with_clock(Clock::starting_at(now()))
}

#[tokio::test(start_paused = true)]
async fn a_message_carries_the_headers_of_celerys_protocol_2() {
    let app = pinned("send-headers");
    let result = add.delay(&app, 1, 2).await.unwrap();
    let message = fetch(&app, "celery").await.remove(0).message;
    let headers = &message.headers;

    assert_eq!(headers.id.as_ref(), Some(result.id()));
    assert_eq!(headers.root_id.as_ref(), Some(result.id()));
    assert_eq!(headers.parent_id, None);
    assert_eq!(headers.task.as_ref().unwrap().as_str(), "proj.add");
    assert_eq!(headers.lang.as_deref(), Some("rust"));
    assert_eq!(headers.argsrepr.as_deref(), Some("(1, 2)"));
    assert_eq!(headers.kwargsrepr.as_deref(), Some("{}"));
    assert!(headers.origin.as_ref().unwrap().starts_with(&format!("gen{}@", std::process::id())));
    assert_eq!(sent_at(headers), Some(now()));
    assert_eq!(message.properties.correlation_id.as_deref(), Some(result.id().as_str()));
    assert_eq!(message.properties.priority, Some(3));
    assert_eq!(&*message.content_type, "application/json");
    assert_eq!(body::decode(&message).unwrap().args, [Value::from(1), Value::from(2)]);
}

#[tokio::test(start_paused = true)]
async fn options_of_the_call_go_before_those_of_the_task() {
    let app = pinned("send-options");
    let call = add.s(1, 2).priority(9).queue("other").expires(Duration::from_secs(60)).task_id("my-id");
    let call = call.time_limit(Duration::from_secs(9)).header("tenant", "blue").compression("zstd");
    let (id, publish) = app.compose(None, call).unwrap();
    let message = publish.message;

    assert_eq!(id.as_str(), "my-id");
    assert_eq!(publish.route.queue().as_str(), "other");
    assert_eq!(message.properties.priority, Some(9));
    assert_eq!(message.headers.expires, Some(now().saturating_add(Duration::from_secs(60))));
    assert_eq!(message.headers.timelimit.hard, Some(Duration::from_secs(9)));
    assert_eq!(message.headers.compression.as_deref(), Some("application/zstd"));
    assert!(message.headers.other.contains(&("tenant".into(), Value::from("blue"))));
    assert_eq!(body::decode(&message).unwrap().args.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_countdown_becomes_the_time_it_is_due() {
    let app = pinned("send-countdown");
    let due = |call| app.compose(None, call).unwrap().1.due;
    let in_five = now().saturating_add(Duration::from_secs(5));
    assert_eq!(due(add.s(1, 2).countdown(Duration::from_secs(5))), Some(in_five));
    assert_eq!(due(add.s(1, 2).countdown(Duration::from_secs(9)).eta(in_five)), Some(in_five));
    assert_eq!(due(add.s(1, 2).countdown(Duration::ZERO)), None);
}

#[test]
fn the_queue_is_that_of_the_call_the_task_a_route_or_the_settings() {
    let routes = Routes::new([("proj.*", "routed")]);
    let app = app("send-routes").settings(|settings| {
        settings.task_routes = routes;
        settings.task_default_queue = "default".into();
    });
    let queue = |call: Signature| app.compose(None, call).unwrap().1.route.queue().to_string();
    assert_eq!(queue(Signature::named("proj.add", args![], kwargs! {}).queue("mine")), "mine");
    assert_eq!(queue(Signature::named("proj.add", args![], kwargs! {})), "routed");
    assert_eq!(queue(Signature::named("mail.send", args![], kwargs! {})), "default");
}

#[tokio::test]
async fn a_call_by_name_uses_the_options_of_the_registered_task() {
    let app = app("send-named").task(add);
    let call = Signature::<i64>::named("proj.add", args![1], kwargs! { y: 2 });
    let message = app.compose(None, call).unwrap().1.message;
    assert_eq!(message.properties.priority, Some(3));
    assert_eq!(message.headers.kwargsrepr.as_deref(), Some("{'y': 2}"));
}

#[tokio::test]
async fn a_bulk_send_arrives_in_order() {
    let app = app("send-many");
    let results = app.send_many((0..100).map(|n| add.s(n, n))).await.unwrap();
    let deliveries = fetch(&app, "celery").await;
    let arrived: Vec<_> =
        deliveries.iter().map(|delivery| delivery.message.headers.id.as_ref().unwrap()).collect();
    assert_eq!(arrived, results.iter().map(AsyncResult::id).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_task_sends_names_it_as_parent_and_its_root() {
    let app = app("send-parent").tasks([spawn.into(), add.into()]);
    let (id, publish) = app.compose(None, spawn.s()).unwrap();
    let child = run(&app, publish.message).await.0.unwrap();
    let sent = fetch(&app, "celery").await.remove(0).message.headers;
    assert_eq!(child, Value::from(sent.id.as_ref().unwrap().as_str()));
    assert_eq!((sent.parent_id.as_ref(), sent.root_id.as_ref()), (Some(&id), Some(&id)));
}

#[tokio::test]
async fn a_task_sends_itself_by_its_own_name() {
    let app = app("send-itself").tasks([count_down.into()]);
    let (_, publish) = app.compose(None, count_down.s(3)).unwrap();
    let next = run(&app, publish.message).await.0.unwrap();
    let sent = fetch(&app, "celery").await.remove(0).message.headers;
    assert_eq!(next, Value::from(sent.id.as_ref().unwrap().as_str()));
    assert_eq!(sent.task.as_ref().unwrap().as_str(), "proj.count_down");
}

#[tokio::test]
async fn handlers_see_a_message_before_and_after_it_is_published() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = std::sync::Arc::clone(&seen);
    let app = app("send-signals")
        .on(signals::before_task_publish, |publishing| {
            publishing.edit(|message| message.headers.shadow = Some("changed".into()));
        })
        .on(signals::after_task_publish, move |published| note.lock().unwrap().push(published.id.clone()));
    let result = add.delay(&app, 1, 2).await.unwrap();
    assert_eq!(fetch(&app, "celery").await[0].message.headers.shadow.as_deref(), Some("changed"));
    assert_eq!(*seen.lock().unwrap(), [result.id().clone()]);
}

#[tokio::test]
async fn what_cannot_be_sent_is_named() {
    struct Secret;
    impl serde::Serialize for Secret {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("secrets stay here"))
        }
    }
    let app = app("send-refused");
    let send = async |call: Signature| match app.send(call).await {
        Err(error @ SendError::Encode { .. }) => {
            format!("{error}: {}", std::error::Error::source(&error).unwrap())
        }
        Err(error) => error.to_string(),
        Ok(_) => panic!("this should be refused"),
    };
    let call = || Signature::named("proj.add", args![], kwargs! {});
    assert_eq!(
        send(call().arg(&Secret)).await,
        "task proj.add cannot be sent: cannot be sent: secrets stay here"
    );
    assert!(send(call().priority(10)).await.ends_with("priority 10 is above 9"));
    let limits = call().soft_time_limit(Duration::from_secs(2)).time_limit(Duration::from_secs(1));
    assert!(send(limits).await.ends_with("its soft time limit of 2s is above the hard one of 1s"));
    assert!(send(call().serializer("pickle")).await.contains("use \"json\" or \"msgpack\""));
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_named_without_its_password() {
    let app =
        App::new("send-nowhere").settings(|settings| settings.broker_url = "amqp://me:secret@host/".into());
    let error = add.delay(&app, 1, 2).await.unwrap_err().to_string();
    assert_eq!(error, "store amqp://me:***@host/ did not take the task");
}

#[test]
fn a_program_without_a_runtime_can_send() {
    let app = app("send-blocking");
    let one = add.delay_blocking(&app, 1, 2).unwrap();
    let many = app.send_many_blocking([add.s(3, 4)]).unwrap();
    assert_ne!(one.id(), many[0].id());
    let store = app.store_blocking().unwrap();
    let queues = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stats =
        queues.block_on(store.broker().queues(&[app.config().task_default_queue.as_str().into()])).unwrap();
    assert_eq!(stats[0].ready, 2);
    assert_eq!(Task::name(&add).as_str(), "proj.add");
}

#[tokio::test(start_paused = true)]
async fn many_calls_are_sent_in_batches_and_an_error_says_how_far_it_came() {
    let app = app("send-batches").settings(|settings| settings.store_message_limit = 1000);
    let long = "x".repeat(2000);
    let call = |n: usize| match n {
        20_005 => Signature::<i64>::named("proj.add", args![long.as_str()], kwargs! {}),
        _ => add.s(1, 2).task_id(n.to_string()),
    };
    let error = app.send_many((0..30_010).map(call)).await.unwrap_err();
    let SendError::Partly { sent, failed, all, source } = error else { panic!("{error}") };
    assert_eq!((sent.len(), failed.len(), all), (20_000, 10_000, 30_010));
    assert!((0..20_000).all(|n| sent[n].as_str() == n.to_string()), "in order");
    assert!(matches!(*source, SendError::Store { .. }), "{source}");

    let first = fetch(&app, "celery").await.remove(0).message;
    assert_eq!(first.headers.id.unwrap().as_str(), "0");
    let stats = app.store().await.unwrap().broker().queues(&["celery".into()]).await.unwrap();
    assert_eq!(stats[0].ready + stats[0].lent.unwrap(), 20_000);

    let small = app.send_many((20_000..20_010).map(call)).await.unwrap_err();
    assert!(matches!(small, SendError::Store { .. }), "nothing was sent: {small}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_without_end_is_as_good_as_any() {
    let app = app("send-endless").settings(|settings| settings.task_publish_timeout = Duration::MAX);
    add.delay(&app, 1, 2).await.unwrap();
    assert_eq!(fetch(&app, "celery").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_id_a_handler_took_away_keeps_no_other_from_being_sent() {
    let app = app("send-nameless")
        .on(signals::before_task_publish, |publishing| publishing.edit(|message| message.headers.id = None));
    app.send_many((0..10_001).map(|n| add.s(n, 2))).await.unwrap();
    let stats = app.store().await.unwrap().broker().queues(&["celery".into()]).await.unwrap();
    assert_eq!(stats[0].ready, 10_001);
}
