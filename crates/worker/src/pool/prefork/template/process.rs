//! One template process, as its thread holds it: it is asked one thing at a time, and answers.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use celeriac_protocol::control::{Address, ControlCommand};
use celeriac_protocol::{QueueName, TaskId, TaskName, json};
use celeriac_store::Delivery;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::super::ahead::Ahead;
use super::super::child::connection::Receiver;
use super::super::frame::{self, DEFAULT_LIMIT};
use super::super::process::Process;
use super::super::protocol::VERSION;
use super::super::spawner::{Birth, PARENT_VARIABLE, Spawned};
use super::description::Description;
use super::{Asked, Launch, Obeyed, Refused, Runs, sources};
use crate::finish::python::says_redelivered;
use crate::telling::{Telling, Told, What};

/// How long a template may take to end once its socket is closed.
const LEAVES: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// How many descriptors a child is given at most.
const MOST_DESCRIPTORS: usize = 4;

/// How long a template may take to fork before it counts as gone.
const FORKS: Duration = Duration::from_secs(60);

/// What the parent says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum ToTemplate<'a> {
    /// The Python code, by the names of its modules.
    Sources,
    /// The command line, as JSON in the body.
    Start,
    /// With the child's socket, its standard output and its standard error.
    Fork { number: u32, index: usize, name: &'a str, runs: Runs, jobs: usize },
    /// To be sent to the receivers of this signal.
    Signal { name: &'a str, data: &'a serde_json::Value },
    /// To be told to the code of the application. The body is the headers and properties as JSON, then the message's body.
    Tell(About<'a>),
    /// To be obeyed: a command of remote control. The body is its arguments by name, as JSON. The queues
    /// are those that tasks are taken from.
    Command { method: &'a str, queues: &'a [&'a str] },
}

/// A task, and what has become of it.
#[derive(Debug, Serialize)]
struct About<'a> {
    id: Option<&'a str>,
    task: Option<&'a str>,
    queue: &'a str,
    redelivered: bool,
    /// How many bytes at the start of the body are headers and properties.
    headers: usize,
    #[serde(flatten)]
    what: &'a What,
}

/// What a template says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum FromTemplate {
    Hello {
        version: u32,
        why: Option<String>,
    },
    App {},
    Failed {
        why: String,
        code: Option<u8>,
        traceback: Option<String>,
    },
    Forked {
        number: u32,
        pid: i32,
        name: Option<Box<str>>,
    },
    ForkFailed {
        number: u32,
        why: String,
    },
    Signalled {},
    Told {
        done: bool,
    },
    /// With what is replied as JSON, if it is.
    Obeyed {
        came: Came,
        #[serde(default)]
        wishes: Vec<Wish>,
    },
}

/// A command of remote control that the application gives to its own worker.
#[derive(Debug, Deserialize)]
struct Wish {
    method: String,
    arguments: BTreeMap<String, String>,
}

impl From<Wish> for ControlCommand {
    fn from(wish: Wish) -> Self {
        let arguments = wish.arguments.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            method: wish.method.into(),
            arguments: arguments.collect(),
            address: Address::All,
            reply_to: None,
            clock: 0,
        }
    }
}

/// What came of a command.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Came {
    Reply,
    Error,
    Shutdown,
    Unknown,
}

/// A template process. When this is dropped, it ends.
pub(super) struct TemplateProcess {
    process: Child,
    socket: UnixStream,
    receiver: Receiver,
}

/// Whether this error means that there is no template any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::Other
}

impl TemplateProcess {
    /// Starts a template, and waits until it has said what its application asks for.
    pub(super) fn start(launch: &Launch) -> io::Result<(Self, Description)> {
        let (socket, theirs) = UnixStream::pair()?;
        let process = Command::new(&launch.interpreter)
            .args(["-c", sources::BOOTSTRAP])
            .env(PARENT_VARIABLE, std::process::id().to_string())
            // An interrupt at the terminal is for the parent.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| {
                io::Error::other(format!("{} cannot be started: {error}", launch.interpreter.display()))
            })?;
        let receiver = Receiver::new(socket.try_clone()?);
        let mut template = Self { process, socket, receiver };
        template.say(&ToTemplate::Sources, sources::as_json())?;
        template.greet()?;
        let start = serde_json::json!({ "argv": launch.arguments });
        template.say(&ToTemplate::Start, serde_json::to_vec(&start)?.into())?;
        match template.hear()? {
            (FromTemplate::App {}, body) => Ok((template, Description::parse(&body)?)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    fn greet(&mut self) -> io::Result<()> {
        match self.hear()?.0 {
            FromTemplate::Hello { why: Some(why), .. } => Err(io::Error::other(why)),
            FromTemplate::Hello { version, .. } if version == VERSION => Ok(()),
            FromTemplate::Hello { version, .. } => Err(io::Error::other(format!(
                "it speaks version {version} of the protocol and not {VERSION}"
            ))),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets it fork a child, and takes charge of that.
    pub(super) fn fork(&mut self, birth: &Birth, runs: Runs) -> io::Result<Spawned> {
        let (socket, theirs) = UnixStream::pair()?;
        let (out, err) = (io::stdout(), io::stderr());
        let Birth { number, index, ref name, jobs } = *birth;
        let head = ToTemplate::Fork { number, index, name, runs, jobs };
        let (ahead, of_child) = (runs == Runs::Prefork).then(Ahead::new).transpose()?.unzip();
        let mut descriptors = vec![theirs.as_fd(), out.as_fd(), err.as_fd()];
        descriptors.extend(of_child.iter().map(AsFd::as_fd));
        self.say_with(&head, &descriptors)?;
        drop((theirs, of_child));
        self.socket.set_read_timeout(Some(FORKS))?;
        let heard = self.hear();
        self.socket.set_read_timeout(None)?;
        match heard?.0 {
            FromTemplate::Forked { number, pid, name } if number == birth.number => {
                let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("it forked no process"))?;
                // What the child prints goes where this process prints to.
                let (stdout, stderr) = (io::pipe()?.0.into(), io::pipe()?.0.into());
                Ok(Spawned { process: Process::adopt_pid(pid)?, socket, stdout, stderr, ahead, name })
            }
            FromTemplate::ForkFailed { number, why } if number == birth.number => Err(io::Error::other(why)),
            other => Err(unexpected(&other)),
        }
    }

    /// Has a signal sent, and waits until its receivers have returned.
    pub(super) fn signal(&mut self, name: &str, data: &serde_json::Value) -> io::Result<()> {
        self.say(&ToTemplate::Signal { name, data }, Bytes::new())?;
        match self.hear()?.0 {
            FromTemplate::Signalled {} => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the application what has become of a task, and waits at most this long until it has heard.
    pub(super) fn tell(&mut self, telling: &Telling, patience: Duration) -> io::Result<Told> {
        let Delivery { message, queue, redelivered, .. } = &*telling.delivery;
        let headers = message.encode_head();
        let about = About {
            id: telling.id.as_ref().map(TaskId::as_str),
            task: telling.task.as_ref().map(TaskName::as_str),
            queue: queue.as_str(),
            redelivered: *redelivered || says_redelivered(message),
            headers: headers.len(),
            what: &telling.what,
        };
        let mut body = BytesMut::with_capacity(headers.len() + message.body.len());
        body.extend_from_slice(&headers);
        body.extend_from_slice(&message.body);
        self.be_patient(Some(patience))?;
        self.say(&ToTemplate::Tell(about), body.freeze())?;
        let heard = self.hear();
        self.be_patient(None)?;
        match heard?.0 {
            FromTemplate::Told { done } => Ok(Told { done }),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets the application obey a command of remote control, and waits at most this long for its reply.
    pub(super) fn obey(&mut self, asked: &Asked, patience: Duration) -> io::Result<Obeyed> {
        let Asked { method, arguments, queues } = asked;
        let queues: Vec<&str> = queues.iter().map(QueueName::as_str).collect();
        self.be_patient(Some(patience))?;
        self.say(&ToTemplate::Command { method, queues: &queues }, json::to_bytes(arguments).into())?;
        let heard = self.hear();
        self.be_patient(None)?;
        let (said, body) = heard?;
        let reply = || json::parse(&body).map_err(io::Error::other);
        match said {
            FromTemplate::Obeyed { came, wishes } => match came {
                Came::Reply => Ok(Obeyed::Reply(reply()?, wishes.into_iter().map(Into::into).collect())),
                Came::Error => Ok(Obeyed::Error(reply()?.as_str().unwrap_or_default().into())),
                Came::Shutdown => Ok(Obeyed::Shutdown),
                Came::Unknown => Ok(Obeyed::Unknown),
            },
            other => Err(unexpected(&other)),
        }
    }

    /// Whether the process is gone.
    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_)))
    }

    fn be_patient(&self, patience: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(patience)?;
        self.socket.set_write_timeout(patience)
    }

    fn say(&mut self, head: &ToTemplate<'_>, body: Bytes) -> io::Result<()> {
        let encoded = encode(head, body)?;
        self.socket.write_all(&encoded.start)?;
        self.socket.write_all(&encoded.body)
    }

    /// The same, with descriptors.
    fn say_with(&mut self, head: &ToTemplate<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let encoded = encode(head, Bytes::new())?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(descriptors));
        let pieces = [IoSlice::new(&encoded.start)];
        let sent = sendmsg(&self.socket, &pieces, &mut control, SendFlags::NOSIGNAL)?;
        self.socket.write_all(&encoded.start[sent..])
    }

    fn hear(&mut self) -> io::Result<(FromTemplate, Bytes)> {
        match self.receiver.receive()? {
            Some((FromTemplate::Failed { why, code: Some(code), .. }, _)) => {
                Err(io::Error::other(Refused { why, code }))
            }
            Some((FromTemplate::Failed { why, traceback, .. }, _)) => {
                let traceback = traceback.map_or_else(String::new, |text| format!("\n{text}"));
                Err(io::Error::other(format!("{why}{traceback}")))
            }
            Some(said) => Ok(said),
            None => {
                let status = self.process.try_wait().ok().flatten();
                let how = status.map_or_else(String::new, |status| format!(": {status}"));
                Err(io::Error::new(io::ErrorKind::BrokenPipe, format!("the Python process has ended{how}")))
            }
        }
    }
}

impl Drop for TemplateProcess {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        // Readable once it has ended.
        if let Ok(pidfd) = pidfd_open(Pid::from_child(&self.process), PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LEAVES));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn encode(head: &ToTemplate<'_>, body: Bytes) -> io::Result<frame::Encoded> {
    frame::encode(&serde_json::to_vec(head)?, body, DEFAULT_LIMIT).map_err(io::Error::other)
}

fn unexpected(said: &FromTemplate) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it says what nobody asked for: {said:?}"))
}
