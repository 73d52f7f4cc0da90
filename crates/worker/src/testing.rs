//! What the unit tests of several modules need.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::protocol::{QueueName, Timestamp, Value};
use celeriac_app::{App, Signature, TaskBody, TaskDefinition};
use celeriac_store::{Delivery, DeliveryTag};

use crate::Options;
use crate::finish::Rules;
use crate::request::Request;
use crate::workflow::Workflow;

/// The present of unit tests.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_795_435_200_000_000);

/// The rules of a worker with default options.
pub(crate) fn rules() -> Rules {
    Rules { result_expires: Duration::from_secs(60), delivery_limit: 3 }
}

/// A task that does nothing.
pub(crate) fn task() -> TaskDefinition {
    TaskDefinition::new("proj.add", TaskBody::asynchronous(|_, _| async { Ok(Value::Null) }))
}

/// A first delivery of a call of that task.
pub(crate) fn delivery(tag: u64) -> Delivery {
    let call = Signature::<i64>::named("proj.add", vec![], vec![]).task_id("call-1");
    let (_, publish) = App::new("test").compose(None, call).unwrap();
    Delivery {
        tag: DeliveryTag(tag),
        queue: QueueName::new("celery"),
        message: publish.message,
        redelivered: false,
        deliveries: 1,
        revoked: None,
    }
}

/// A request for this delivery.
pub(crate) fn request(delivery: Delivery) -> Request {
    request_of(task(), delivery)
}

/// A request for this delivery of this task.
pub(crate) fn request_of(task: TaskDefinition, delivery: Delivery) -> Request {
    Request::new("call-1".into(), Arc::new(task), Arc::new(delivery), &Options::default())
}

/// Composes what follows the tasks of a program that knows only that task.
pub(crate) fn workflow() -> Workflow {
    let (app, expires_after) = (App::new("test").task(task()), Duration::from_secs(60));
    Workflow { app, expires_after, max_body_bytes: 1 << 20 }
}
