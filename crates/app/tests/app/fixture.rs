//! A program on a store of its own, and a way to run its tasks without a worker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::protocol::{Message, QueueName, State, TaskId, Value, body};
use celeriac_app::resource::{HealthBoard, LocalSet, ProcessKind, SharedSet};
use celeriac_app::store::{ConsumeOptions, Delivery, DeliveryTag};
use celeriac_app::task::Returned;
use celeriac_app::{App, CancellationToken, Context, Process, Reporter, TaskBody, Workplace};

/// A program whose store nobody else uses.
pub(crate) fn app(name: &str) -> App {
    App::new(name).settings(|settings| settings.broker_url = format!("memory://app-{name}"))
}

/// Takes everything that waits in a queue, as a worker would.
pub(crate) async fn fetch(app: &App, queue: &str) -> Vec<Delivery> {
    let options = ConsumeOptions {
        queues: vec![QueueName::new(queue)],
        prefetch: 1000,
        lease: Duration::from_secs(30),
        worker: "test".into(),
    };
    let mut subscription = app.store().await.unwrap().broker().consume(options).await.unwrap();
    let fetched = tokio::time::timeout(Duration::from_secs(5), subscription.consumer.fetch(1000)).await;
    fetched.expect("something waits in the queue").unwrap()
}

/// Collects what tasks say of themselves.
#[derive(Default)]
pub(crate) struct Reports(pub(crate) Mutex<Vec<(State, Value)>>);

impl Reporter for Reports {
    fn report(&self, _task: &TaskId, state: State, meta: Value) {
        self.0.lock().unwrap().push((state, meta));
    }
}

/// Runs the task that a message names, as an executor would: resources first, then the function.
pub(crate) async fn run(app: &App, message: Message) -> (Returned, Arc<Reports>) {
    let name = message.headers.task.clone().unwrap();
    let task = Arc::clone(app.find_task(name.as_str()).expect("the task is registered"));
    let process = Process::this("test@here", ProcessKind::Worker);
    let plan = app.resource_plan([&*task]).unwrap();
    let health = HealthBoard::new(&plan, process.clone());
    let shared = Arc::new(SharedSet::new(&plan, &health));
    shared.build().await.unwrap();
    let reports = Arc::new(Reports::default());
    let reporter: Arc<dyn Reporter> = reports.clone();
    let place = Arc::new(Workplace { app: app.clone(), process, shared, reporter });
    let delivery = Delivery {
        tag: DeliveryTag(1),
        queue: QueueName::new("test"),
        message,
        redelivered: false,
        deliveries: 1,
        revoked: None,
    };
    let arguments = body::decode(&delivery.message).unwrap();
    let id = delivery.message.headers.id.clone().unwrap();
    let context = Context::new(
        id,
        Arc::clone(&task),
        Arc::new(delivery),
        CancellationToken::new(),
        Arc::default(),
        place,
        None,
    );
    let returned = match &task.body {
        TaskBody::Async(body) => body(context, arguments).await,
        TaskBody::Blocking(body) => {
            let locals = LocalSet::new(&plan, &health);
            locals.build().unwrap();
            body(&context, &locals, arguments)
        }
        TaskBody::Python(_) => panic!("{} is a task of another program", task.name),
    };
    (returned, reports)
}
