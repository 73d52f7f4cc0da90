//! Where the worker takes tasks from: `active_queues`.

use celeriac_protocol::Value;

use crate::control::panel::Panel;

impl Panel {
    /// The queues, each with the exchange of its name, as a stock worker describes those that it makes itself.
    ///
    /// Source: `active_queues`, `celery/worker/control.py`, Celery 5.7.0, and `Queue.attrs`, `kombu/entity.py`, kombu 5.7.0.
    pub(in crate::control) fn active_queues(&self) -> Value {
        Value::List(self.options.queues.iter().map(|queue| described(queue.as_str())).collect())
    }
}

fn described(queue: &str) -> Value {
    let map = |entries: Vec<(&str, Value)>| {
        Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    };
    let exchange = map(vec![
        ("name", queue.into()),
        ("type", "direct".into()),
        ("arguments", Value::Null),
        ("durable", true.into()),
        ("passive", false.into()),
        ("auto_delete", false.into()),
        ("delivery_mode", Value::Null),
        ("no_declare", false.into()),
    ]);
    map(vec![
        ("name", queue.into()),
        ("exchange", exchange),
        ("routing_key", queue.into()),
        ("queue_arguments", Value::Null),
        ("binding_arguments", Value::Null),
        ("consumer_arguments", Value::Null),
        ("durable", true.into()),
        ("exclusive", false.into()),
        ("auto_delete", false.into()),
        ("no_ack", false.into()),
        ("alias", Value::Null),
        ("bindings", Value::List(Vec::new())),
        ("no_declare", Value::Null),
        ("expires", Value::Null),
        ("message_ttl", Value::Null),
        ("max_length", Value::Null),
        ("max_length_bytes", Value::Null),
        ("max_priority", Value::Null),
    ])
}
