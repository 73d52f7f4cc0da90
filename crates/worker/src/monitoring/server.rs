//! HTTP, as little of it as probes and scrapes need: one request on each connection, few connections, all in short time.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::render::{Condition, render};
use super::snapshot::Snapshot;
use super::text;
use super::vitals::{Signs, Verdict};
use super::watch::{QueueState, QueuesAsked};
use crate::consumer::Input;

/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 32;

/// How long a connection may take, from its first byte to its last.
const LONGEST: Duration = Duration::from_secs(10);

/// How long the head of a request may take to arrive.
const HEAD: Duration = Duration::from_secs(2);

/// The largest head of a request, in bytes; the least that hyper allows.
const LARGEST_HEAD: usize = 8 * 1024;

/// How long the loop has to answer a scrape.
const PATIENCE_WITH_LOOP: Duration = Duration::from_secs(2);

/// How long the store has to say what waits; scrapers have little more.
const PATIENCE_WITH_STORE: Duration = Duration::from_millis(2500);

/// How long to wait before connections are accepted again where the system refuses them.
const PAUSE: Duration = Duration::from_millis(100);

const PLAIN: &str = "text/plain; charset=utf-8";

/// Who answers, and what with.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) signs: Signs,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) queues: mpsc::Sender<QueuesAsked>,
}

/// Serves for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, desk: Desk) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "metrics and probes cannot be served"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    // Whoever takes longer, or hangs up, has no answer.
                    let _ = timeout(LONGEST, serve_one(stream, &desk)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, desk: &Desk) -> hyper::Result<()> {
    let answer = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(desk.answer(request.method(), request.uri().path()).await)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

impl Desk {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused =
                response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".to_owned());
            refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let now = Instant::now();
        match path {
            "/live" => probe("live", self.signs.vitals().live(now)),
            "/ready" => probe("ready", self.signs.vitals().ready(now)),
            "/startup" => probe("started", self.signs.vitals().started(now)),
            "/metrics" => match self.scrape().await {
                Ok(metrics) => response(StatusCode::OK, text::CONTENT_TYPE, metrics),
                Err(reason) => unavailable(&reason),
            },
            _ => response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "there are /metrics, /live, /ready and /startup\n".to_owned(),
            ),
        }
    }

    /// The text of the metrics, or why there is none. What the store does not say in time is left out.
    async fn scrape(&self) -> Result<String, String> {
        self.signs.vitals().has_loop()?;
        let silent = || "the loop of the worker does not answer".to_owned();
        let snapshot = self.snapshot().await.ok_or_else(silent)?;
        let queues = self.queues(&snapshot).await;
        let condition = Condition::of(&mut self.signs.vitals(), Instant::now());
        // It takes some milliseconds where there are many tasks, and probes are answered on this thread.
        let text = spawn_blocking(move || render(&snapshot, condition, queues.as_deref()));
        // It fails if it panics, or if the worker ends meanwhile.
        text.await.map_err(|_| silent())
    }

    async fn snapshot(&self) -> Option<Box<Snapshot>> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Scrape(answer)).ok()?;
        timeout(PATIENCE_WITH_LOOP, answered).await.ok()?.ok()
    }

    async fn queues(&self, snapshot: &Snapshot) -> Option<Vec<QueueState>> {
        let (answer, answered) = oneshot::channel();
        // For a store, no name means all queues.
        if snapshot.queues.is_empty() {
            return None;
        }
        self.queues.try_send(QueuesAsked { queues: snapshot.queues.clone(), answer }).ok()?;
        timeout(PATIENCE_WITH_STORE, answered).await.ok()?.ok()
    }
}

/// The answer to a probe: what is the case, or why it is not.
fn probe(what: &str, verdict: Verdict) -> Response<Full<Bytes>> {
    match verdict {
        Ok(()) => response(StatusCode::OK, PLAIN, format!("{what}\n")),
        Err(reason) => unavailable(&reason),
    }
}

fn unavailable(reason: &str) -> Response<Full<Bytes>> {
    response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{reason}\n"))
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .body(Full::new(Bytes::from(body)))
        .expect("names and values of headers are constants")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use celeriac_protocol::QueueName;
    use rustix::time::{ClockId, Timespec, clock_gettime};

    use super::*;
    use crate::monitoring::Counts;
    use crate::monitoring::vitals::{Standing, Vitals};
    use crate::outcome::Outcome;
    use crate::testing::{NOW, delivery, request_of, task};

    /// What happened to the worker before it was asked.
    type Past = fn(&mut Vitals, Instant);

    /// A desk, and its ends at a loop and a store that do nothing.
    type Deaf = (Desk, mpsc::UnboundedReceiver<Input>, mpsc::Receiver<QueuesAsked>);

    fn desk() -> Deaf {
        let (inputs, loop_) = mpsc::unbounded_channel();
        let (queues, store) = mpsc::channel(1);
        (Desk { signs: Signs::default(), inputs, queues }, loop_, store)
    }

    /// A snapshot whose text takes its time.
    fn large() -> Snapshot {
        let mut counts = Counts::default();
        for number in 0..500 {
            let task = celeriac_app::TaskDefinition { name: format!("t{number}").into(), ..task() };
            let request = request_of(task, delivery(1));
            counts.ran(&request, Duration::from_millis(20));
            counts.ended(&request, &Outcome::Ignored, NOW);
        }
        Snapshot {
            counts,
            node_name: "one@here".to_owned(),
            app: "demo".to_owned(),
            queues: vec![QueueName::new("q")],
            unsettled: 0,
            events_dropped: 0,
            prefetch_limit: 1,
            deliveries_limit: 2,
            pools: Vec::new(),
            resources: Vec::new(),
            child_resources: BTreeMap::new(),
        }
    }

    /// How much the calling thread has had of a processor.
    fn used() -> Duration {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap())
    }

    #[tokio::test]
    async fn a_probe_waits_for_nothing_whatever_has_come_to_a_halt() {
        let pasts: [(&str, Past); 3] = [
            ("the loop hangs", |vitals, now| {
                vitals.turned(Standing::Working, now);
                vitals.ask(now);
            }),
            ("a fetch hangs", |vitals, now| {
                vitals.turned(Standing::Working, now);
                vitals.answered(now);
                vitals.fetch_begins(now);
            }),
            ("it stops", |vitals, now| vitals.turned(Standing::Stopping, now)),
        ];
        for (what, past) in pasts {
            let (desk, _loop, _store) = desk();
            past(&mut desk.signs.vitals(), Instant::now());
            // A scrape waits for the loop meanwhile.
            let mut scrape = pin!(desk.answer(&Method::GET, "/metrics"));
            let mut context = Context::from_waker(Waker::noop());
            assert!(scrape.as_mut().poll(&mut context).is_pending(), "{what}");
            for path in ["/live", "/ready", "/startup"] {
                let answer = pin!(desk.answer(&Method::GET, path)).poll(&mut context);
                assert!(matches!(answer, Poll::Ready(_)), "{path} waits where {what}");
            }
        }
    }

    #[test]
    fn neither_a_probe_nor_a_scrape_waits_for_a_loop_that_there_is_not() {
        for path in ["/live", "/ready", "/startup", "/metrics"] {
            let (desk, mut loop_, _store) = desk();
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(answer) = pin!(desk.answer(&Method::GET, path)).poll(&mut context) else {
                panic!("{path} waits");
            };
            let expected = if path == "/live" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            assert_eq!(answer.status(), expected, "{path}");
            assert!(loop_.try_recv().is_err(), "nothing is left to it");
        }
    }

    #[tokio::test]
    async fn the_text_of_a_scrape_is_made_beside_the_thread_that_answers() {
        let condition = Condition { is_ready: true, store_answers: true, round_trips: 0 };
        let snapshot = large();
        let began = used();
        let text = render(&snapshot, condition, None);
        let alone = used() - began;

        let (desk, mut loop_, _) = desk();
        desk.signs.vitals().turned(Standing::Working, Instant::now());
        let snapshot = Box::new(snapshot);
        let began = used();
        let scrape = desk.scrape();
        let answer = async {
            let Some(Input::Scrape(answer)) = loop_.recv().await else { panic!("the loop is not asked") };
            answer.send(snapshot).unwrap();
        };
        let (scraped, ()) = tokio::join!(scrape, answer);
        let here = used() - began;
        assert_eq!(scraped.unwrap().len(), text.len());
        assert!(here < alone / 2, "{here:?} of {alone:?} were spent here");
    }
}
