//! The thread of a child that listens to the parent, while the main thread runs a task.

use std::mem::ManuallyDrop;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use celeriac_app::{CancellationToken, Reason};
use celeriac_protocol::TaskId;
use rustix::process::{Signal, getpid, kill_process};

use super::super::protocol::{FromChild, JobHead, ToChild};
use super::connection::{Receiver, Sender};
use super::last_words;
use super::reporter::FrameReporter;
use crate::death::exit_code;
use crate::pool::StopReason;

/// What the main thread is to do next.
#[derive(Debug)]
pub(super) enum Order {
    /// Run this task, whose token the listener cancels.
    Run(JobHead, Bytes, CancellationToken),
    /// Nothing more will come.
    End,
}

/// The task that was given to this child and has not ended, as both threads see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Current(Arc<Mutex<Option<Running>>>);

#[derive(Debug)]
struct Running {
    id: TaskId,
    token: CancellationToken,
    /// Whether the parent has been told that it runs, and is about to kill this process for it.
    confirmed: bool,
}

impl Current {
    /// The task has ended: what is said of it from now on is ignored.
    ///
    /// False if the parent has been told that it runs: then it has not ended, because the signal that ends this process
    /// for its sake is on its way and must find it.
    #[must_use]
    pub(super) fn clear(&self) -> bool {
        let mut running = self.lock();
        let may_end = !running.as_ref().is_some_and(|running| running.confirmed);
        if may_end {
            *running = None;
        }
        may_end
    }

    fn set(&self, id: TaskId, token: CancellationToken) {
        *self.lock() = Some(Running { id, token, confirmed: false });
    }

    fn token_of(&self, id: &TaskId) -> Option<CancellationToken> {
        self.lock().as_ref().filter(|running| running.id == *id).map(|running| running.token.clone())
    }

    /// Whether this task runs. If so, it does not end any more but with this process.
    fn confirm(&self, id: &TaskId) -> bool {
        let mut running = self.lock();
        let running = running.as_mut().filter(|running| running.id == *id);
        running.map(|running| running.confirmed = true).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the listener acts on.
pub(super) struct Listener {
    /// Closed by the end of the process and never before, as the socket of its sender.
    pub(super) receiver: ManuallyDrop<Receiver>,
    pub(super) sender: Sender,
    pub(super) current: Current,
    pub(super) reporter: Arc<FrameReporter>,
    /// Ends the building of resources.
    pub(super) stop: CancellationToken,
}

impl Listener {
    /// Starts the thread; its orders come out of the channel.
    pub(super) fn start(self) -> std::io::Result<mpsc::Receiver<Order>> {
        let (orders, inbox) = mpsc::channel();
        let sender = self.sender.clone();
        let listen = move || last_words::or_end(&sender, || self.listen(&orders));
        thread::Builder::new().name("celeriac-listener".into()).spawn(listen)?;
        Ok(inbox)
    }

    fn listen(mut self, orders: &mpsc::Sender<Order>) {
        loop {
            match self.receiver.receive::<ToChild>() {
                Ok(Some((head, body))) => self.obey(head, body, orders),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "cannot understand the worker");
                    if self.current.lock().is_some() {
                        last_words::end(exit_code::CUT_OFF);
                    }
                    break;
                }
            }
        }
        // The parent is gone, and what it had given to this child will be given to another.
        if self.current.lock().is_some() {
            let _ = kill_process(getpid(), Signal::KILL);
        }
        self.end(orders);
    }

    fn obey(&self, head: ToChild, body: Bytes, orders: &mpsc::Sender<Order>) {
        match head {
            ToChild::Job(head) => {
                let token = CancellationToken::new();
                self.current.set(head.id.clone(), token.clone());
                // Without a main thread the process is ending.
                let _ = orders.send(Order::Run(head, body, token));
            }
            ToChild::Cancel { id, reason } => {
                if let Some(token) = self.current.token_of(&id) {
                    token.cancel(StopReason::from(reason).into());
                }
            }
            ToChild::Confirm { id } => {
                if self.current.confirm(&id) {
                    let _ = self.sender.send(&FromChild::Confirmed { id }, Bytes::new());
                }
            }
            ToChild::Credit { reports } => self.reporter.credit(reports),
            ToChild::Stop => self.end(orders),
            ToChild::Hello(_) => tracing::warn!("the worker said hello twice"),
        }
    }

    fn end(&self, orders: &mpsc::Sender<Order>) {
        self.stop.cancel(Reason::Shutdown);
        let _ = orders.send(Order::End);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// Set in the process in which this test closes what it does not own.
    const ALONE: &str = "CELERIAC_TEST_ALONE";

    #[test]
    fn a_socket_that_a_task_has_closed_is_not_closed_again() {
        if std::env::var_os(ALONE).is_some() {
            return listen_on_a_closed_socket();
        }
        let name =
            "pool::prefork::child::listener::tests::a_socket_that_a_task_has_closed_is_not_closed_again";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let output = alone.args([name, "--exact"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
    }

    #[expect(unsafe_code, reason = "no safe code can close what it does not own")]
    fn listen_on_a_closed_socket() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let closed = ours.as_raw_fd();
        let sender = Sender::new(ours.try_clone().unwrap());
        let listener = Listener {
            receiver: ManuallyDrop::new(Receiver::new(ours)),
            reporter: Arc::new(FrameReporter::new(sender.clone(), 0)),
            sender,
            current: Current::default(),
            stop: CancellationToken::new(),
        };
        // SAFETY: nothing else in this process opens or closes anything meanwhile.
        unsafe { libc::close(closed) };
        let (orders, inbox) = mpsc::channel();
        listener.listen(&orders);
        assert!(matches!(inbox.recv(), Ok(Order::End)));
    }

    #[test]
    fn a_task_whose_child_is_about_to_be_killed_does_not_end_before() {
        let current = Current::default();
        current.set("t".into(), CancellationToken::new());
        assert!(!current.confirm(&"other".into()));
        assert!(current.confirm(&"t".into()));
        assert!(!current.clear());
    }

    #[test]
    fn a_task_that_has_ended_is_not_confirmed() {
        let current = Current::default();
        current.set("t".into(), CancellationToken::new());
        assert!(current.clear());
        assert!(!current.confirm(&"t".into()));
    }
}
