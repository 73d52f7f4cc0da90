//! Traces that cross Python and Rust: `opentelemetry-instrumentation-celery` on one side, our spans on the other.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::collector::{Collector, Seen};
use crate::apps::Host;
use crate::harness::Broker;

/// What makes a program export to this collector, soon.
fn exporting(collector: &Collector) -> [(&str, &str); 4] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        // Our worker is called as its program, and its children as this.
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("CHILD_SERVICE_NAME", "children"),
    ]
}

/// Sends a call with the command line of the program in Rust, which is traced.
fn call(broker: &Broker, collector: &Collector, arguments: &[&str]) -> bool {
    let mut program = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
    program.arg("call").args(arguments).args(["-b", &broker.url()]).envs(exporting(collector));
    program.stdout(Stdio::null());
    program.env("OTEL_SERVICE_NAME", "producer").status().unwrap().success()
}

#[tokio::test]
async fn a_producer_in_python_and_a_task_in_rust_yield_one_trace() {
    let (broker, collector) = (Broker::start(), Collector::start());
    let _worker = broker.rust_worker(&exporting(&collector)).await;
    let mut producer = broker.python();
    producer.args(["trace_sends.py", "rust.whoami"]).envs(exporting(&collector));
    assert!(producer.env("OTEL_SERVICE_NAME", "producer").status().unwrap().success());

    let names = ["request", "apply_async/rust.whoami", "wait/rust.whoami", "run/rust.whoami"];
    let [request, sent, waited, ran] = collector.only(names).await;
    assert_eq!([&*request.service, &*sent.service], ["producer"; 2]);
    assert_eq!([&*waited.service, &*ran.service], ["interop"; 2]);
    sent.assert_in(&request);
    waited.assert_in(&sent);
    ran.assert_in(&sent);
    assert_eq!((sent.kind, ran.kind), (SpanKind::Producer, SpanKind::Consumer));
    assert_eq!(ran.attributes["celery.state"], "SUCCESS");
}

#[tokio::test]
async fn a_failure_in_rust_is_an_exception_of_a_trace_from_python() {
    let (broker, collector) = (Broker::start(), Collector::start());
    let _worker = broker.rust_worker(&exporting(&collector)).await;
    let mut producer = broker.python();
    producer.args(["trace_sends.py", "rust.fail", "no leaves"]).envs(exporting(&collector));
    assert!(producer.env("OTEL_SERVICE_NAME", "producer").status().unwrap().success());
    let [sent, ran] = collector.only(["apply_async/rust.fail", "run/rust.fail"]).await;
    ran.assert_in(&sent);
    assert_eq!(ran.error.as_deref(), Some("no leaves"));
    assert_eq!(ran.exceptions[0]["exception.type"], "OutOfTea");
}

async fn instrumented(collector: &Collector) -> Host {
    Host::start_with("traced", &["-c", "1"], &exporting(collector), 1).await
}

#[tokio::test]
async fn a_producer_in_rust_and_an_instrumented_task_in_python_yield_one_trace() {
    let collector = Collector::start();
    let host = instrumented(&collector).await;
    assert!(call(&host.broker, &collector, &["traced.add", "--args", "[2, 3]"]));
    let names = ["apply_async/traced.add", "wait/traced.add", "run/traced.add"];
    let [sent, waited, ran] = collector.only(names).await;
    assert_eq!([&*sent.service, &*waited.service, &*ran.service], ["producer", "traced", "children"]);
    assert!(sent.parent.is_empty());
    waited.assert_in(&sent);
    ran.assert_in(&sent);
    host.end().await;
    let runs = collector.all().into_iter().filter(|span| span.name == "run/traced.add").count();
    assert_eq!(runs, 1, "the worker makes no second span of the run");
}

#[tokio::test]
async fn an_exception_of_an_instrumented_task_in_python_is_recorded_by_its_instrumentation() {
    let collector = Collector::start();
    let host = instrumented(&collector).await;
    assert!(call(&host.broker, &collector, &["traced.fail", "--args", "[\"no leaves\"]"]));
    let [sent, ran] = collector.only(["apply_async/traced.fail", "run/traced.fail"]).await;
    ran.assert_in(&sent);
    assert_eq!((&*ran.service, ran.error.as_deref()), ("children", Some("no leaves")));
    assert_eq!(ran.exceptions[0]["exception.type"], "ValueError");
    assert!(ran.exceptions[0]["exception.stacktrace"].contains("traced.py"), "{ran:#?}");
    host.end().await;
}

/// From Rust to Python, from there to Rust, and what follows that in Python again.
#[tokio::test]
async fn a_trace_goes_on_through_tasks_in_both_languages() {
    let collector = Collector::start();
    let host = instrumented(&collector).await;
    assert!(call(&host.broker, &collector, &["traced.relay"]));
    let names = ["apply_async/traced.relay", "run/traced.relay", "apply_async/rust.add", "run/rust.add"];
    let chain = collector.only(names).await;
    let [sent, ran] = collector.only(["apply_async/traced.note", "run/traced.note"]).await;
    let all: Vec<&Seen> = chain.iter().chain([&sent, &ran]).collect();
    all.windows(2).for_each(|pair| pair[1].assert_in(pair[0]));
    let services: Vec<&str> = all.iter().map(|span| &*span.service).collect();
    assert_eq!(services, ["producer", "children", "children", "traced", "traced", "children"]);
    host.end().await;
}

/// A retry is sent within the run that asks for it, by us as by the instrumentation.
#[tokio::test]
async fn retries_nest_as_the_instrumentation_nests_them() {
    for task in ["rust.stubborn", "traced.stubborn"] {
        let collector = Collector::start();
        let host = instrumented(&collector).await;
        assert!(call(&host.broker, &collector, &[task, "--args", "[1]", "--wait", "30"]));
        let (sends, runs) = (format!("apply_async/{task}"), format!("run/{task}"));
        host.end().await;
        let all = collector.all();
        let named = |name: &str| all.iter().filter(|span| span.name == name).collect::<Vec<_>>();
        let (sends, runs) = (named(&sends), named(&runs));
        assert_eq!((sends.len(), runs.len()), (2, 2), "{all:#?}");
        let first = *sends.iter().find(|span| span.parent.is_empty()).unwrap();
        let inside = |spans: &[&Seen], outer: &Seen| {
            let found = spans.iter().find(|span| span.parent == outer.id).copied().cloned();
            found.unwrap_or_else(|| panic!("nothing in {outer:#?} of {all:#?}"))
        };
        let run = inside(&runs, first);
        assert!(run.attributes["celery.retry.reason"].starts_with("Retry in "), "{run:#?}");
        assert_eq!((run.error.as_deref(), &*run.attributes["celery.state"]), (None, "RETRY"));
        let again = inside(&runs, &inside(&sends, &run));
        assert_eq!(
            (&*again.attributes["celery.state"], &*again.attributes["celery.retries"]),
            ("SUCCESS", "1")
        );
    }
}

#[tokio::test]
async fn spans_have_the_attributes_that_the_instrumentation_gives_them() {
    let collector = Collector::start();
    let host = instrumented(&collector).await;
    assert!(call(&host.broker, &collector, &["traced.add", "--args", "[2, 3]"]));
    assert!(call(&host.broker, &collector, &["rust.echo", "--args", "[1]"]));
    let [theirs, ours] = collector.only(["run/traced.add", "run/rust.echo"]).await;
    let names = |span: &Seen| span.attributes.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&theirs), names(&ours));
    for name in ["celery.action", "celery.state", "celery.delivery_info", "messaging.destination"] {
        assert_eq!(theirs.attributes[name], ours.attributes[name], "{name}");
    }
    assert!(call(&host.broker, &collector, &["traced.relay"]));
    let [theirs, ours] = collector.only(["apply_async/rust.add", "apply_async/traced.add"]).await;
    assert_eq!(names(&theirs), names(&ours));
    for span in [&theirs, &ours] {
        assert_eq!(span.attributes["celery.action"], "apply_async");
        assert_eq!(span.attributes["messaging.destination_kind"], "queue");
        assert_eq!(span.attributes["messaging.destination"], "celery");
    }
    host.end().await;
}

#[tokio::test]
async fn the_worker_makes_the_spans_of_an_application_without_instrumentation_if_it_is_told_to() {
    let collector = Collector::start();
    let [endpoint, soon, ..] = exporting(&collector);
    let env = [endpoint, soon, ("CELERIAC_WORKER_TRACE_PYTHON_TASKS", "true"), ("UNINSTRUMENTED", "1")];
    let host = Host::start_with("traced", &["-c", "1"], &env, 1).await;
    assert!(call(&host.broker, &collector, &["traced.fail", "--args", "[\"no leaves\"]"]));
    let [sent, ran] = collector.only(["apply_async/traced.fail", "run/traced.fail"]).await;
    ran.assert_in(&sent);
    assert_eq!((&*ran.service, ran.error.as_deref()), ("traced", Some("ValueError('no leaves')")));
    assert_eq!(ran.exceptions[0]["exception.type"], "ValueError");
    assert!(ran.exceptions[0]["exception.stacktrace"].contains("traced.py"), "{ran:#?}");
    host.end().await;
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_is_told_and_the_call_is_sent() {
    let (broker, collector) = (Broker::start(), Collector::start());
    let mut program = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
    program.args(["call", "rust.echo", "-b", &broker.url()]).envs(exporting(&collector));
    let ended = program.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(said.starts_with("warning: nothing is traced: OTEL_EXPORTER_OTLP_PROTOCOL cannot be"), "{said}");
}

#[tokio::test]
async fn a_collector_that_is_away_is_a_line_in_the_log_and_costs_no_task() {
    // Nobody listens there any more.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{address}");
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("UNINSTRUMENTED", "1"),
    ];
    let host = Host::start_with("traced", &["-c", "1"], &env, 1).await;
    let untraced = Collector::start();
    for _ in 0..3 {
        assert!(call(&host.broker, &untraced, &["rust.echo", "--args", "[1]", "--wait", "30"]));
    }
    host.until("the outage is told", |log| log.contains("spans are not exported")).await;
    assert!(call(&host.broker, &untraced, &["rust.echo", "--args", "[1]", "--wait", "30"]));
    let (log, _) = host.end().await;
    assert_eq!(log.matches("spans are not exported").count(), 1, "{log}");
    assert_eq!(log.matches("the last spans were not exported").count(), 1, "{log}");
}
