//! A collector of spans, to which the programs of both languages export.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;

use crate::harness::DEADLINE;

/// A span that has arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The `service.name` of who exported it.
    pub(super) service: String,
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty for the first of a trace.
    pub(super) parent: String,
    pub(super) attributes: BTreeMap<String, String>,
    /// The attributes of its exceptions.
    pub(super) exceptions: Vec<BTreeMap<String, String>>,
    /// Why it is an error, if it is one.
    pub(super) error: Option<String>,
}

/// Takes spans over HTTP until it is dropped.
pub(super) struct Collector {
    pub(super) url: String,
    spans: Arc<Mutex<Vec<Seen>>>,
}

impl Collector {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::downgrade(&spans);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(taken) = taken.upgrade() else { return };
                thread::spawn(move || take(stream.unwrap(), &taken));
            }
        });
        Self { url, spans }
    }

    /// The spans of these names, once each of them is there; exactly one of each.
    pub(super) async fn only<const N: usize>(&self, names: [&str; N]) -> [Seen; N] {
        let until = Instant::now() + DEADLINE;
        loop {
            let all = self.spans.lock().unwrap().clone();
            let found = names.map(|name| {
                let mut named = all.iter().filter(|span| span.name == name);
                let first = named.next().cloned();
                assert!(named.next().is_none(), "more than one {name}: {all:#?}");
                first
            });
            if found.iter().all(Option::is_some) {
                return found.map(Option::unwrap);
            }
            assert!(Instant::now() < until, "not within {DEADLINE:?}: {names:?} in {all:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// What has arrived.
    pub(super) fn all(&self) -> Vec<Seen> {
        self.spans.lock().unwrap().clone()
    }
}

impl Seen {
    /// Whether it lies in the other one.
    #[track_caller]
    pub(super) fn assert_in(&self, outer: &Self) {
        assert_eq!((&self.trace, &self.parent), (&outer.trace, &outer.id), "{self:#?} in {outer:#?}");
    }
}

/// Answers the requests of one connection.
fn take(stream: TcpStream, spans: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut is_packed) = (String::new(), None, false);
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            let header = line.to_ascii_lowercase();
            length =
                header.strip_prefix("content-length:").map(|text| text.trim().parse().unwrap()).or(length);
            is_packed |= header.starts_with("content-encoding:");
            line.clear();
        }
        let Some(length) = length else { return };
        assert!(!is_packed, "nobody was told to compress");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        spans.lock().unwrap().extend(request.resource_spans.iter().flat_map(seen));
        if reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn seen(resource: &ResourceSpans) -> Vec<Seen> {
    let of_resource = attributes(&resource.resource.as_ref().unwrap().attributes);
    let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
    spans.map(|span| seen_span(span, &of_resource["service.name"])).collect()
}

fn seen_span(span: &Span, service: &str) -> Seen {
    let exceptions = span.events.iter().filter(|event| event.name == "exception");
    let status = span.status.as_ref().filter(|status| status.code == 2);
    Seen {
        service: service.to_owned(),
        name: span.name.clone(),
        kind: span.kind(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        attributes: attributes(&span.attributes),
        exceptions: exceptions.map(|event| attributes(&event.attributes)).collect(),
        error: status.map(|status| status.message.clone()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let value = |it: &KeyValue| it.value.as_ref().and_then(|value| value.value.as_ref()).map(text);
    all.iter().filter_map(|it| Some((it.key.clone(), value(it)?))).collect()
}
