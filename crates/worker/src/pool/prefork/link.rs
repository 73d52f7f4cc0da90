//! The parent's side of one child: one async task that owns its socket, its outputs and its pidfd.
//!
//! Nothing here is shared with another child, and nothing waits for this child alone: a child that is stopped, or
//! dies in the middle of a frame, keeps only its own link busy.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};

use super::capture::{Capture, Stream};
use super::channel::{Channel, Moved};
use super::frame::{self, Encoded};
use super::patience::Patience;
use super::process::Process;
use super::protocol::FromChild;
use super::spawner::Spawned;
use super::sys::Remains;
use crate::request::Request;

/// How many orders may wait for one child. Each job, cancellation or credit is one.
pub(super) const ORDERS: usize = 64;

/// How much of what a child has said on a beat is read at once, in pieces.
const PIECES: usize = 16;

/// How often bytes that are not yet a frame are reported as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(250);

/// What the supervisor tells a child through its link.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) frame: Encoded,
    /// The task that this starts, as whose lines the child's output is logged from then on.
    pub(super) starts: Option<Arc<Request>>,
    /// Whether the child reads this only when it is signalled to: after the frame, which the signal would overtake otherwise.
    pub(super) is_announced: bool,
    /// Whether the child is told to leave: what it leaves in its process group is then its own affair.
    pub(super) is_last: bool,
}

/// What a link tells the supervisor of its child.
#[derive(Debug)]
pub(super) enum News {
    /// Bytes came that are not yet a frame.
    Alive,
    /// A frame.
    Frame(FromChild, Bytes),
    /// What came is no frame. Nothing more will be read.
    Garbled(Box<str>),
    /// The child is dead and reaped. The last news.
    Exited(Remains),
}

/// Where news come from: a slot, and which of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct From {
    pub(super) slot: usize,
    pub(super) number: u32,
}

pub(super) type NewsSender = mpsc::Sender<(From, News)>;

/// The link of one child while it lives.
pub(super) struct Link {
    from: From,
    name: Box<str>,
    process: Arc<Process>,
    death: AsyncFd<OwnedFd>,
    channel: Channel,
    can_read: bool,
    patience: Patience,
    received: BytesMut,
    sending: VecDeque<Bytes>,
    outputs: [Capture; 2],
    task: Option<Arc<Request>>,
    limit: usize,
    news: NewsSender,
    said_alive: Instant,
    may_leave_processes: bool,
}

impl Link {
    /// Takes the parent's ends of a fresh child.
    pub(super) fn new(
        from: From,
        name: Box<str>,
        spawned: Spawned,
        patience: Patience,
        limit: usize,
        news: NewsSender,
    ) -> io::Result<(Self, Arc<Process>)> {
        let process = Arc::new(spawned.process);
        let link = Self {
            from,
            name,
            death: process.watch()?,
            process: Arc::clone(&process),
            channel: Channel::new(spawned.socket.into())?,
            can_read: true,
            patience,
            received: BytesMut::new(),
            sending: VecDeque::new(),
            outputs: [Capture::new(spawned.stdout, Stream::Out)?, Capture::new(spawned.stderr, Stream::Err)?],
            task: None,
            limit,
            news,
            said_alive: Instant::now(),
            may_leave_processes: false,
        };
        Ok((link, process))
    }

    /// Carries frames, output and the end of the child until it is dead and everything it sent has been told.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let [out, err] = &self.outputs;
            let rest = self.patience.until();
            tokio::select! {
                dead = self.death.readable() => {
                    // An error here could only mean that the runtime ends, and with it everything.
                    if let Ok(mut guard) = dead {
                        guard.clear_ready();
                    }
                    if let Some(remains) = self.process.reap(!self.may_leave_processes) {
                        return self.finish(remains).await;
                    }
                }
                Some(order) = orders.recv(), if self.sending.len() < 4 => self.take(order),
                () = self.channel.writable(), if !self.sending.is_empty() => self.write(),
                () = self.channel.readable(), if self.can_read && rest.is_none() => self.read(1).await,
                () = sleep_until(rest.unwrap_or(self.said_alive)), if self.can_read && rest.is_some() => {
                    // Where it could not be watched although it has to read first.
                    self.write();
                    self.read(PIECES).await;
                }
                () = out.readable(), if out.is_open() => self.outputs[0].log(&self.name, self.task.as_deref(), false),
                () = err.readable(), if err.is_open() => self.outputs[1].log(&self.name, self.task.as_deref(), false),
            }
        }
    }

    fn take(&mut self, order: Order) {
        if order.starts.is_some() {
            self.task = order.starts;
        }
        self.may_leave_processes |= order.is_last;
        self.sending.push_back(order.frame.start.into());
        if !order.frame.body.is_empty() {
            self.sending.push_back(order.frame.body);
        }
        self.write();
        if order.is_announced {
            self.process.signal(Signal::USR1);
        }
    }

    /// Writes as much as the child takes now.
    fn write(&mut self) {
        while let Some(next) = self.sending.front_mut() {
            match self.channel.write(next) {
                Moved::Bytes(written) => next.advance(written),
                Moved::Nothing => return self.attend(),
                // The child closed its end: it is about to die, which its pidfd will tell.
                Moved::Over => self.sending.clear(),
            }
            if self.sending.front().is_some_and(Bytes::is_empty) {
                self.sending.pop_front();
            }
        }
    }

    /// Notices again at once what the child does.
    fn attend(&mut self) {
        match self.channel.watch() {
            Ok(()) => self.patience.end(),
            Err(error) => {
                tracing::warn!(child = &*self.name, %error, "a child cannot be watched: it is read from time to time");
                self.patience.go_on(Instant::now());
            }
        }
    }

    /// Reads so many pieces, and decides when to read next.
    async fn read(&mut self, pieces: usize) {
        let mut frames = 0;
        for _ in 0..pieces {
            match self.channel.read(&mut self.received) {
                Moved::Bytes(_) => frames += self.tell_frames().await,
                Moved::Nothing => break,
                Moved::Over => self.can_read = false,
            }
            if !self.channel.has_more() || !self.can_read {
                break;
            }
        }
        let was_left_alone = self.patience.until().is_some();
        // What waits to be written needs to be noticed.
        if self.sending.is_empty() {
            self.patience.has_read(Instant::now(), frames);
        }
        match (was_left_alone, self.patience.until()) {
            (true, None) => self.attend(),
            (false, Some(_)) => self.channel.leave_alone(),
            _ => {}
        }
    }

    /// Tells every complete frame among what was received, and how many there were.
    async fn tell_frames(&mut self) -> usize {
        let (mut told, mut has_logged) = (0, false);
        while self.can_read {
            match frame::decode(&mut self.received, self.limit) {
                Ok(Some(frame)) => self.tell_frame(&frame, &mut has_logged).await,
                Ok(None) => break,
                Err(error) => self.give_up(error.to_string()).await,
            }
            told += 1;
        }
        if told == 0 && self.said_alive.elapsed() >= SIGN_OF_LIFE {
            self.said_alive = Instant::now();
            self.tell(News::Alive).await;
        }
        told
    }

    async fn tell_frame(&mut self, frame: &frame::Frame, has_logged: &mut bool) {
        match serde_json::from_slice::<FromChild>(&frame.head) {
            Ok(head) => {
                if matches!(head, FromChild::Done { .. }) {
                    // Whatever the task printed was in the pipes before this was read, and is not to pass for the next task's.
                    if !std::mem::replace(has_logged, true) {
                        self.log_outputs();
                    }
                    self.task = None;
                }
                self.tell(News::Frame(head, frame.body.clone())).await;
            }
            Err(error) => self.give_up(error.to_string()).await,
        }
    }

    fn log_outputs(&mut self) {
        for output in &mut self.outputs {
            output.log(&self.name, self.task.as_deref(), true);
        }
    }

    async fn give_up(&mut self, why: String) {
        self.can_read = false;
        self.tell(News::Garbled(why.into())).await;
    }

    /// Tells what the dead child still had sent, and then that it is dead.
    async fn finish(&mut self, remains: Remains) {
        while self.can_read && matches!(self.channel.read(&mut self.received), Moved::Bytes(_)) {
            self.tell_frames().await;
        }
        self.log_outputs();
        self.tell(News::Exited(remains)).await;
    }

    async fn tell(&mut self, news: News) {
        // Without a supervisor nobody is told: the worker has ended, and its children end with their sockets.
        let _ = self.news.send((self.from, news)).await;
    }
}
