//! The exporter against a collector, which may be away, slow or unwilling.

#[cfg(feature = "tls")]
mod encrypted;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::trace::testing::NOW;
use crate::trace::{Kind, Span, Tracer};

/// How long something may take that happens in a moment.
const SOON: Duration = Duration::from_secs(20);

/// Takes what is exported, on a port of its own or on this one; answers with these statuses first, and then with 200.
fn collector(
    address: Option<SocketAddr>,
    statuses: &'static [u16],
) -> (SocketAddr, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind(address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let (taken, requests) = channel();
    thread::spawn(move || {
        let mut statuses = statuses.iter();
        while let Ok((stream, _)) = listener.accept() {
            let status = statuses.next().copied().unwrap_or(200);
            take(stream, status, &taken).unwrap();
        }
    });
    (address, requests)
}

/// Takes one request, and answers with this status. One that is taken is told before the answer says so.
fn take(stream: impl Read + Write, status: u16, taken: &Sender<ExportTraceServiceRequest>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    if status == 200 {
        // The test may have ended.
        let _ = taken.send(request);
    }
    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes())
}

/// A tracer as the environment makes it, with a queue of 8 and batches of 4.
fn tracer(address: SocketAddr) -> Tracer {
    let get = |name: &'static str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("http://{address}")),
        "OTEL_BSP_MAX_QUEUE_SIZE" => Some("8".to_owned()),
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => Some("4".to_owned()),
        "OTEL_BSP_SCHEDULE_DELAY" => Some("600000".to_owned()),
        _ => None,
    };
    Tracer::from_variables("kitchen", get).unwrap().unwrap()
}

fn record(tracer: &Tracer, name: &str) {
    let call = (&name.into(), Some(&"call-1".into()));
    let mut span = Span::of_task("run", Kind::Consumer, tracer.begin(None), call, (NOW, NOW));
    span.parent = Some(8);
    span.exception("ValueError", "no tea", Some("at\nhere"));
    tracer.record(span);
}

/// The names of the spans in a request.
fn names(request: &ExportTraceServiceRequest) -> Vec<String> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.name.clone()).collect()
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_span_arrives_as_it_was_recorded() {
    let (address, requests) = collector(None, &[]);
    let tracer = tracer(address);
    record(&tracer, "proj.add");
    assert!(tracer.flush(SOON));
    let request = requests.try_recv().unwrap();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let service = resource.attributes.iter().find(|it| it.key == "service.name").unwrap();
    assert!(format!("{service:?}").contains("kitchen"), "{service:?}");
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("run/proj.add", 5), "5 is a consumer");
    assert_eq!(span.parent_span_id, 8u64.to_be_bytes());
    assert_eq!(span.start_time_unix_nano, NOW.as_micros() as u64 * 1000);
    assert_eq!(span.events[0].name, "exception");
    let status = span.status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "no tea"), "2 is an error");
}

#[test]
fn the_last_spans_are_sent_when_the_tracer_is_dropped() {
    let (address, requests) = collector(None, &[]);
    let tracer = tracer(address);
    record(&tracer, "proj.add");
    drop(tracer);
    assert_eq!(names(&requests.try_recv().unwrap()), ["run/proj.add"]);
}

#[test]
fn what_exceeds_the_buffer_while_the_collector_is_away_is_dropped_and_the_rest_arrives() {
    let address = nobody();
    let tracer = tracer(address);
    record(&tracer, "first");
    assert!(!tracer.flush(SOON), "nobody is there");
    // One is on its way; eight wait.
    for number in 0..100 {
        record(&tracer, &number.to_string());
    }
    let (_, requests) = collector(Some(address), &[]);
    let mut arrived = Vec::new();
    while arrived.len() < 9 {
        arrived.extend(names(&requests.recv_timeout(SOON).unwrap()));
    }
    assert!(tracer.flush(SOON));
    assert!(requests.try_recv().is_err(), "91 were dropped");
    let expected = ["first", "0", "1", "2", "3", "4", "5", "6", "7"].map(|name| format!("run/{name}"));
    assert_eq!(arrived, expected);
}

#[test]
fn a_batch_is_sent_as_soon_as_it_is_full() {
    let (address, requests) = collector(None, &[]);
    let tracer = tracer(address);
    (0..4).for_each(|number| record(&tracer, &number.to_string()));
    assert_eq!(names(&requests.recv_timeout(SOON).unwrap()).len(), 4);
}

#[test]
fn what_the_collector_refuses_is_not_sent_again() {
    let (address, requests) = collector(None, &[400]);
    let tracer = tracer(address);
    record(&tracer, "refused");
    assert!(tracer.flush(SOON), "nothing is left to be sent");
    let trouble = tracer.trouble().unwrap();
    assert!(trouble.ends_with("refuses them: it answers with status 400"), "{trouble}");
    record(&tracer, "taken");
    assert!(tracer.flush(SOON));
    assert_eq!(tracer.trouble(), None);
    assert_eq!(names(&requests.try_recv().unwrap()), ["run/taken"]);
}

#[test]
fn what_an_overloaded_collector_does_not_take_is_sent_again() {
    let (address, requests) = collector(None, &[503, 429]);
    let tracer = tracer(address);
    (0..4).for_each(|number| record(&tracer, &number.to_string()));
    assert_eq!(names(&requests.recv_timeout(SOON).unwrap()).len(), 4);
}

#[test]
fn a_collector_that_never_answers_delays_the_end_for_a_bounded_time_only() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let tracer = tracer(silent.local_addr().unwrap());
    record(&tracer, "proj.add");
    let started = Instant::now();
    assert!(!tracer.flush(Duration::from_millis(50)));
    drop(tracer);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}
