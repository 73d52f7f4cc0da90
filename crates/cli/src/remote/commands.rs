//! The commands that every worker of Celery 5.7 knows, and what they take on the command line; and our own, which only
//! workers of ours know.
//!
//! Source: `celery/worker/control.py`, Celery 5.7.0; those that its command line does not show are left out.

use celeriac_app::control::ArgumentKind::{Integer, Number, Text, Truth};
use celeriac_app::control::Kind::{Control, Inspect};
use celeriac_app::control::{ArgumentKind, Form, Kind};

/// Name, kind, arguments, the argument that takes the rest, how it is called, what it does.
type Row = (
    &'static str,
    Kind,
    &'static [(&'static str, ArgumentKind)],
    Option<&'static str>,
    &'static str,
    &'static str,
);

const ROWS: &[Row] = &[
    ("active", Inspect, &[], None, "", "What runs"),
    ("active_queues", Inspect, &[], None, "", "Where tasks are taken from"),
    ("clock", Inspect, &[], None, "", "The logical clock"),
    ("conf", Inspect, &[("with_defaults", Truth)], None, "[with_defaults=false]", "The settings"),
    ("memdump", Inspect, &[("samples", Integer)], None, "[samples=10]", "What memsample has found"),
    ("memsample", Inspect, &[], None, "", "How much memory is used"),
    (
        "objgraph",
        Inspect,
        &[("type", Text), ("num", Integer), ("max_depth", Integer)],
        None,
        "[type=Request] [num=200] [max_depth=10]",
        "Draws which Python objects hold others",
    ),
    ("ping", Inspect, &[], None, "", "Whether it answers"),
    ("query_task", Inspect, &[], Some("ids"), "[ID ...]", "What became of tasks that it has"),
    ("registered", Inspect, &[], Some("taskinfoitems"), "[ATTRIBUTE ...]", "Which tasks it knows"),
    ("report", Inspect, &[], None, "", "What to put into a report of a bug"),
    ("reserved", Inspect, &[], None, "", "What it has and does not run yet"),
    ("revoked", Inspect, &[], None, "", "The ids of revoked tasks"),
    ("scheduled", Inspect, &[], None, "", "What it has and may not run yet"),
    ("stats", Inspect, &[], None, "", "What it has done, and with what"),
    (
        "add_consumer",
        Control,
        &[("queue", Text), ("exchange", Text), ("exchange_type", Text), ("routing_key", Text)],
        None,
        "<queue> [exchange] [type] [routing_key]",
        "Takes tasks from one more queue",
    ),
    (
        "autoscale",
        Control,
        &[("max", Integer), ("min", Integer)],
        None,
        "[max] [min]",
        "Sets between how many processes",
    ),
    ("cancel_consumer", Control, &[("queue", Text)], None, "<queue>", "Takes no more tasks from a queue"),
    ("disable_events", Control, &[], None, "", "Sends no more events of tasks"),
    ("election", Control, &[], None, "", "Begins an election"),
    ("enable_events", Control, &[], None, "", "Sends events of tasks"),
    ("heartbeat", Control, &[], None, "", "Sends a heartbeat event at once"),
    ("pool_grow", Control, &[("n", Integer)], None, "[n=1]", "Adds processes and threads"),
    ("pool_restart", Control, &[], None, "", "Replaces all processes"),
    ("pool_shrink", Control, &[("n", Integer)], None, "[n=1]", "Takes processes and threads away"),
    (
        "rate_limit",
        Control,
        &[("task_name", Text), ("rate_limit", Text)],
        None,
        "<task_name> <rate_limit>",
        "How often a task may start: 5/s, 5/m, 5/h; 0 for no limit",
    ),
    ("revoke", Control, &[], Some("task_id"), "[ID ...]", "Keeps tasks from running"),
    (
        "revoke_by_stamped_headers",
        Control,
        &[],
        Some("headers"),
        "[HEADER=STAMP ...]",
        "Keeps tasks with these stamps from running",
    ),
    ("shutdown", Control, &[], None, "", "Ends the worker, once its tasks have ended"),
    ("terminate", Control, &[("signal", Text)], Some("task_id"), "<signal> [ID ...]", "Stops tasks that run"),
    (
        "time_limit",
        Control,
        &[("task_name", Text), ("soft", Number), ("hard", Number)],
        None,
        "<task_name> <soft_secs> [hard_secs]",
        "How long a task may run",
    ),
];

/// What only workers of ours know.
const OURS: &[Row] = &[
    ("changes", Inspect, &[], None, "", "What is kept of what control has changed; ours"),
    (
        "forget_changes",
        Control,
        &[("name", Text)],
        None,
        "[name]",
        "Keeps changes no longer: all, or the one of a name; ours",
    ),
    (
        "pause",
        Control,
        &[("queue", Text)],
        None,
        "<queue>",
        "Takes nothing from a queue until it is resumed; ours",
    ),
    ("resume", Control, &[("queue", Text)], None, "<queue>", "Ends a pause; ours"),
];

/// The commands that workers know without being told.
pub(super) fn built_in() -> impl Iterator<Item = Form> {
    ROWS.iter().chain(OURS).map(|(name, kind, arguments, variadic, signature, help)| Form {
        name: (*name).into(),
        kind: *kind,
        arguments: arguments.iter().map(|(name, kind)| ((*name).into(), *kind)).collect(),
        variadic: variadic.map(Into::into),
        signature: (*signature).into(),
        help: (*help).into(),
    })
}
