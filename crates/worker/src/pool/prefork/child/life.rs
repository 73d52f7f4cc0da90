//! The life of a child: greeting, resources, tasks, and an orderly end.

use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use celeriac_app::resource::{HealthBoard, LocalSet, ProcessKind, SharedSet};
use celeriac_app::signals::{self, WorkerNode};
use celeriac_app::task::Isolation;
use celeriac_app::trace::{Sampler, Tracer};
use celeriac_app::{App, CancellationToken, Process, Workplace};
use celeriac_protocol::{DecodeError, Message, json};
use celeriac_store::{Delivery, DeliveryTag};
use tokio::runtime::{Builder, Runtime};

use super::super::process::resident_memory;
use super::super::protocol::{self, FromChild, JobHead, StartPhase, TaskEnding, ToChild, VERSION, Welcome};
use super::connection::{Receiver, SendError, Sender};
use super::last_words;
use super::listener::{Current, Listener, Order};
use super::log;
use super::pulse::{self, Pulse};
use super::reporter::{FrameReporter, NO_BODY};
use super::spans::FrameSpans;
use crate::Options;
use crate::builtins;
use crate::death::exit_code;
use crate::executor::{Executor, Run};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::panic::install_hook;
use crate::request::Request;

/// Why a child cannot go on.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Lives as a child on this socket, to its end.
pub(super) fn live(app: App, socket: UnixStream) -> ExitCode {
    match socket.try_clone() {
        Ok(ours) => {
            let sender = Sender::new(ours);
            let life = || Child::greet(app, &sender, socket).and_then(Child::serve);
            match last_words::or_end(&sender, life) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) if last_words::say(&sender, &error.to_string()) => {
                    ExitCode::from(exit_code::FAILED)
                }
                Err(_) => last_words::end(exit_code::CUT_OFF),
            }
        }
        Err(_) => ExitCode::from(exit_code::FAILED),
    }
}

/// A child that has been told what it is.
struct Child {
    app: App,
    process: Process,
    options: Options,
    sender: Sender,
    current: Current,
    reporter: Arc<FrameReporter>,
    orders: mpsc::Receiver<Order>,
    stop: CancellationToken,
    welcome: Welcome,
}

impl Child {
    fn greet(app: App, sender: &Sender, socket: UnixStream) -> Result<Self, Fatal> {
        let pid = std::process::id();
        sender.send(&FromChild::Hello { version: VERSION, pid }, NO_BODY)?;
        let mut receiver = Receiver::new(socket);
        let welcome = match receiver.receive()? {
            Some((ToChild::Hello(welcome), _)) => welcome,
            Some(_) => return Err("the worker did not say hello first".into()),
            None => return Err("the worker closed the connection before it said hello".into()),
        };
        start_logging(&app, &welcome);
        sender.set_limit(welcome.limit);
        receiver.set_limit(welcome.limit);
        let mut app = take_over(app, &welcome.settings)?;
        if welcome.traces {
            app = app.with_tracer(Tracer::new(Sampler::default(), FrameSpans(sender.clone())));
        }
        let reporter = Arc::new(FrameReporter::new(sender.clone(), welcome.reports));
        let (current, stop) = (Current::default(), CancellationToken::new());
        let listener = Listener {
            receiver: ManuallyDrop::new(receiver),
            sender: sender.clone(),
            current: current.clone(),
            reporter: Arc::clone(&reporter),
            stop: stop.clone(),
        };
        Ok(Self {
            process: Process::this(&welcome.node, ProcessKind::Child(welcome.number)),
            options: Options::from_settings(app.config(), welcome.node.clone()),
            app,
            sender: sender.clone(),
            current,
            reporter,
            orders: listener.start()?,
            stop,
            welcome,
        })
    }

    /// Builds the resources, runs tasks until told to end, and drops the resources.
    fn serve(self) -> Result<(), Fatal> {
        install_hook();
        let isolated = |task: &&Arc<_>| is_isolated(task);
        let plan = self.app.resource_plan(self.app.task_list().filter(isolated).map(Arc::as_ref))?;
        let health = HealthBoard::new(&plan, self.process.clone());
        let _pulse = Pulse::start(self.sender.clone(), self.welcome.beat, health.clone())?;
        self.sender.send(&FromChild::Phase { phase: StartPhase::Init }, NO_BODY)?;
        // Never dropped: what resources left running on it ends with the process, and is not waited for. A runtime that
        // cannot reach its threads any more, because a task closed its files, would wait for them for ever.
        let runtime = ManuallyDrop::new(runtime()?);

        self.app.signals().send(signals::worker_process_init, || self.process.clone());
        let shared = Arc::new(SharedSet::new(&plan, &health));
        let locals = LocalSet::new(&plan, &health);
        let built = runtime
            .block_on(shared.build_until_ready(&self.stop))
            .and_then(|()| locals.build_until_ready(&self.stop));
        if built.is_ok() {
            pulse::show(&self.sender, &health.snapshot());
            self.sender.send(&FromChild::Ready { jobs: 1, memory: resident_memory() }, NO_BODY)?;
            match self.run_jobs(&shared, &locals, &runtime) {
                // The resources are not dropped: where the socket has gone, what they own may have gone too.
                Err(SendError::Closed(_)) => last_words::end(exit_code::CUT_OFF),
                ended => ended?,
            }
        }
        self.app.signals().send(signals::worker_process_shutdown, || self.process.clone());
        drop(locals);
        shared.close();
        Ok(())
    }

    fn run_jobs(
        &self,
        shared: &Arc<SharedSet>,
        locals: &LocalSet,
        runtime: &Runtime,
    ) -> Result<(), SendError> {
        let place = Workplace {
            app: self.app.clone(),
            process: self.process.clone(),
            shared: Arc::clone(shared),
            reporter: self.reporter.clone(),
        };
        let executor = Executor::new(Arc::new(place), &self.options);
        while let Ok(Order::Run(head, body, token)) = self.orders.recv() {
            let id = head.id.clone();
            self.sender.send(&FromChild::Started { id }, NO_BODY)?;
            self.run_job(head, body, token, &executor, locals, runtime)?;
        }
        Ok(())
    }

    fn run_job(
        &self,
        head: JobHead,
        body: Bytes,
        token: CancellationToken,
        executor: &Executor,
        locals: &LocalSet,
        runtime: &Runtime,
    ) -> Result<(), SendError> {
        let id = head.id.clone();
        let mut left = None;
        let run = match self.request(head, body, token) {
            Ok(request) => {
                let run = match request.task.body.is_async() {
                    true => runtime.block_on(executor.run_async(&request)),
                    false => executor.run_blocking(&request, locals, runtime.handle()),
                };
                left = protocol::left_to_json(request.trail.take());
                run
            }
            Err(failure) => Run { outcome: Some(Outcome::Failure(failure)), runtime: Default::default() },
        };
        self.reporter.flush();
        if !self.current.clear() {
            last_words::await_the_kill();
        }
        let (ending, body) = ending_of(run.outcome);
        let done = |ending, left| FromChild::Done {
            id: id.clone(),
            ending,
            left,
            runtime: run.runtime,
            memory: Some(resident_memory()),
        };
        match self.sender.send(&done(ending, left), body) {
            // What it left may be what is too large, and is nothing that counts after a failure.
            Err(SendError::Frame(error)) => {
                self.sender.send(&done(TaskEnding::Failure { failure: too_large(&error) }, None), NO_BODY)
            }
            sent => sent,
        }
    }

    /// The request as the parent has it.
    fn request(&self, head: JobHead, mut body: Bytes, token: CancellationToken) -> Result<Request, Failure> {
        let headers = body.split_to(head.headers.min(body.len()));
        let message = Message::decode(&headers, body).map_err(|error| undecodable(&error))?;
        let task = builtins::find(&self.app, &head.task, &message).ok_or_else(|| unknown(&head))?;
        let delivery = Delivery {
            tag: DeliveryTag(0),
            queue: head.queue.as_ref().into(),
            message,
            redelivered: head.redelivered,
            deliveries: head.deliveries,
            revoked: None,
        };
        let mut request = Request::new(head.id, task, Arc::new(delivery), &self.options);
        request.cancellation = token;
        request.limits.hard = head.hard;
        request.limits.soft = head.soft;
        request.span = head.span;
        Ok(request)
    }
}

/// Sets up logging as in the worker: a subscriber does not outlive the start of a new executable.
fn start_logging(app: &App, welcome: &Welcome) {
    let node = || WorkerNode { name: welcome.node.clone() };
    if app.signals().is_connected(signals::setup_logging) {
        app.signals().send(signals::setup_logging, node);
    } else {
        log::start(&welcome.log_level);
        app.signals().send(signals::after_setup_logger, node);
    }
}

/// The program with the settings of the worker, which may come from its command line.
fn take_over(app: App, settings: &[(String, String)]) -> Result<App, Fatal> {
    let mut taken = Ok(());
    let app = app.settings(|own| {
        for (name, text) in settings {
            let set = own.set(name, text);
            taken = std::mem::replace(&mut taken, Ok(())).and(set);
        }
    });
    Ok(taken.map(|()| app)?)
}

fn is_isolated(task: &celeriac_app::TaskDefinition) -> bool {
    task.options.isolation == Isolation::Process
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("celeriac-child").enable_all().build()
}

fn ending_of(outcome: Option<Outcome>) -> (TaskEnding, Bytes) {
    let ending = match outcome {
        Some(Outcome::Success(value)) => return (TaskEnding::Success, json::to_bytes(&value).into()),
        Some(Outcome::Failure(failure)) => TaskEnding::Failure { failure },
        Some(Outcome::Retry { delay, failure }) => TaskEnding::Retry { delay, failure },
        Some(Outcome::Ignored) => TaskEnding::Ignored,
        Some(Outcome::Replaced(call)) => {
            return (TaskEnding::Replaced, json::to_bytes(&call.into_value()).into());
        }
        Some(Outcome::Rejected { requeue, reason }) => TaskEnding::Rejected { requeue, reason },
        Some(Outcome::Revoked(_)) => TaskEnding::Revoked,
        Some(Outcome::TimeLimitExceeded(limit)) => TaskEnding::TimeLimitExceeded { limit },
        // The executor has no child of its own to lose.
        Some(Outcome::Returned | Outcome::Handled { .. } | Outcome::Lost(_)) | None => TaskEnding::Returned,
    };
    (ending, NO_BODY)
}

fn unknown(head: &JobHead) -> Failure {
    let text = format!("the child process does not know the task {}, although its worker does", head.task);
    Failure::new("NotRegistered", None, text).with_code(FailureCode::UnknownTask)
}

fn undecodable(error: &DecodeError) -> Failure {
    let text = format!("the message did not come through to the child process: {error}");
    Failure::new("DecodeError", None, text).with_code(FailureCode::UndecodableBody)
}

fn too_large(error: &super::super::frame::Error) -> Failure {
    let text = format!(
        "the result cannot be handed to the worker: {error}; store the data and return a reference, or raise store_message_limit"
    );
    Failure::new("ResultTooLarge", None, text).with_code(FailureCode::ResultTooLarge)
}
