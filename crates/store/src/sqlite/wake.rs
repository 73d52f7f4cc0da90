//! Waking those who wait, in this process and in others, without polling.
//!
//! Beside the file lies a folder, `FILE-wake`. A process that waits for a topic makes a named pipe in it, and whoever
//! commits something of that topic writes one byte into each pipe of it. In its own process a commit counts a
//! number up instead, which waiting tasks watch; a thread per pipe does the same for each byte that arrives.
//!
//! **Why no wake-up is lost.** A waiter does, in this order: (1) make the pipe, unless the process has it, and note
//! the count; (2) look into the file; (3) if nothing is there, wait until the count differs from the noted one.
//! A writer does: (a) commit; (b) list the pipes; (c) write to each. If the look (2) does not see the commit (a), the
//! commit came after it, so the pipe (1) was there when the writer listed (b), and its byte raises the count after
//! it was noted. A pipe that is full has a byte in it that its thread has not read, which is as good as one more.
//!
//! A pipe gets its final name only when its reader has it open, so one that nobody reads ("no such device or address")
//! belongs to a process that died, and whoever meets it removes it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::sync::watch;

use super::lock;

/// What one can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// Messages became ready, or will at a new time.
    Ready,
    /// Final results were stored.
    Results,
    /// Tasks were revoked.
    Revoked,
    /// Workers are asked to announce themselves.
    Asked,
    /// A worker announced itself or withdrew.
    Announced,
    /// Something was broadcast without a routing key.
    Broadcast,
    /// Something was broadcast with one.
    Keyed,
}

const TOPICS: [Topic; 7] = [
    Topic::Ready,
    Topic::Results,
    Topic::Revoked,
    Topic::Asked,
    Topic::Announced,
    Topic::Broadcast,
    Topic::Keyed,
];

impl Topic {
    /// How the names of its pipes begin.
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Results => "results",
            Self::Revoked => "revoked",
            Self::Asked => "asked",
            Self::Announced => "announced",
            Self::Broadcast => "broadcast",
            Self::Keyed => "keyed",
        }
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Topics(u8);

impl Topics {
    pub(super) fn add(&mut self, topic: Topic) {
        self.0 |= 1 << topic as u8;
    }

    fn has(self, topic: Topic) -> bool {
        self.0 & (1 << topic as u8) != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl From<Topic> for Topics {
    fn from(topic: Topic) -> Self {
        let mut topics = Self::default();
        topics.add(topic);
        topics
    }
}

/// Called when results were stored, whoever stored them.
pub(super) type ResultsHook = Box<dyn Fn() + Send + Sync>;

/// The bells of one file as one process sees them.
pub(super) struct Wake {
    folder: PathBuf,
    /// The database, whose mode the pipes take over.
    database: PathBuf,
    /// Ends the names of our own pipes.
    own: String,
    bells: Arc<Bells>,
    pipes: [Mutex<Option<OwnPipe>>; TOPICS.len()],
    others: Mutex<HashMap<OsString, File>>,
}

/// One count per topic, raised when something happened.
struct Bells {
    counts: [watch::Sender<u64>; TOPICS.len()],
    results_hook: ResultsHook,
}

impl Bells {
    fn ring(&self, topic: Topic) {
        self.counts[topic as usize].send_modify(|count| *count += 1);
        if topic == Topic::Results {
            (self.results_hook)();
        }
    }
}

impl Wake {
    pub(super) fn new(database: &Path, results_hook: ResultsHook) -> Self {
        let mut folder = database.as_os_str().to_owned();
        folder.push("-wake");
        Self {
            folder: folder.into(),
            database: database.to_owned(),
            own: format!("-{}-{:016x}", std::process::id(), fastrand::u64(..)),
            bells: Arc::new(Bells { counts: Default::default(), results_hook }),
            pipes: Default::default(),
            others: Mutex::default(),
        }
    }

    /// The count of a topic, to be noted before looking into the file. Other processes ring it too from now on.
    pub(super) fn listen(&self, topic: Topic) -> watch::Receiver<u64> {
        self.hear_others(topic);
        self.hear_ourselves(topic)
    }

    /// As [`Wake::listen`], but only of this process. Asks no file.
    pub(super) fn hear_ourselves(&self, topic: Topic) -> watch::Receiver<u64> {
        self.bells.counts[topic as usize].subscribe()
    }

    /// Makes our pipe for a topic, if there is none yet.
    pub(super) fn hear_others(&self, topic: Topic) {
        lock(&self.pipes[topic as usize]).get_or_insert_with(|| self.open_pipe(topic));
    }

    /// Makes those of our pipes anew that somebody has removed, and looks for what was missed meanwhile.
    pub(super) fn repair(&self) {
        for topic in TOPICS {
            let mut pipe = lock(&self.pipes[topic as usize]);
            if pipe.as_ref().is_some_and(OwnPipe::is_removed) {
                tracing::warn!(folder = %self.folder.display(), "somebody removed a named pipe: making it anew");
                // The old one goes first, because it removes what lies at its path.
                *pipe = None;
                *pipe = Some(self.open_pipe(topic));
                self.bells.ring(topic);
            }
        }
    }

    /// Removes our pipes: nobody here listens any more.
    pub(super) fn close(&self) {
        self.pipes.iter().for_each(|pipe| drop(lock(pipe).take()));
    }

    /// Wakes everybody who waits for one of these topics. To be called after the commit.
    pub(super) fn announce(&self, topics: Topics) {
        if topics.is_empty() {
            return;
        }
        TOPICS.into_iter().filter(|topic| topics.has(*topic)).for_each(|topic| self.bells.ring(topic));
        // Without the folder nobody listens. If it cannot be read, neither can the database.
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let mut others = lock(&self.others);
        let mut listed = 0;
        for name in entries.filter_map(|entry| Some(entry.ok()?.file_name())) {
            let Some(text) = name.to_str() else { continue };
            let topic = text.split('-').next().unwrap_or_default();
            if text.ends_with(&self.own) || text.starts_with('.') {
                continue;
            }
            listed += 1;
            if TOPICS.into_iter().any(|known| topics.has(known) && known.name() == topic) {
                self.ring_pipe(&mut others, name);
            }
        }
        // Pipes whose processes have ended.
        if others.len() > listed {
            others.retain(|name, _| self.folder.join(name).exists());
        }
    }

    fn ring_pipe(&self, others: &mut HashMap<OsString, File>, name: OsString) {
        let path = self.folder.join(&name);
        let mut pipe = match others.remove(&name) {
            Some(pipe) => pipe,
            None => match open_nonblocking(&path, OFlags::WRONLY) {
                Ok(pipe) => pipe,
                Err(rustix::io::Errno::NXIO) => return remove(&path),
                Err(error) => {
                    if error != rustix::io::Errno::NOENT {
                        tracing::warn!(pipe = %path.display(), %error, "another process cannot be woken");
                    }
                    return;
                }
            },
        };
        match pipe.write(&[1]) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => remove(&path),
            // Written, or full of bytes that will wake it.
            _ => drop(others.insert(name, pipe)),
        }
    }

    /// Makes our pipe for a topic. Where the file system has no pipes, other processes are noticed twice a second.
    fn open_pipe(&self, topic: Topic) -> OwnPipe {
        let name = format!("{}{}", topic.name(), self.own);
        match OwnPipe::open(&self.folder, &name, &self.database) {
            Ok((pipe, reader)) => {
                pipe.start(topic, Arc::clone(&self.bells), move |closed| read_bytes(&reader, closed));
                pipe
            }
            Err(error) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "no named pipes here: looking for the work of other processes twice a second");
                let pipe = OwnPipe { path: None, closed: Arc::default(), bell: None };
                pipe.start(topic, Arc::clone(&self.bells), |_| {
                    std::thread::park_timeout(FALLBACK_PERIOD);
                    true
                });
                pipe
            }
        }
    }
}

/// How often to look without pipes.
const FALLBACK_PERIOD: Duration = Duration::from_millis(500);
/// A pipe under construction that is older than this was left by a process that died.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// The threads that wait for bytes need no more.
const STACK: usize = 128 << 10;

/// A pipe that this process reads.
struct OwnPipe {
    path: Option<PathBuf>,
    closed: Arc<AtomicBool>,
    /// Our own writing end: it keeps the pipe from ending when writers leave, and wakes the thread at the end.
    bell: Option<File>,
}

impl OwnPipe {
    fn open(folder: &Path, name: &str, database: &Path) -> std::io::Result<(Self, File)> {
        let mode = std::fs::metadata(database)?.mode() & 0o666;
        make_folder(folder, mode)?;
        // Under a name that writers pass over, until there is a reader.
        let unfinished = folder.join(format!(".{name}"));
        make_pipe(&unfinished, mode)?;
        let reader = open_nonblocking(&unfinished, OFlags::RDONLY)?;
        rustix::fs::fcntl_setfl(&reader, OFlags::empty())?;
        let bell = open_nonblocking(&unfinished, OFlags::WRONLY)?;
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode))?;
        let path = folder.join(name);
        std::fs::rename(&unfinished, &path)?;
        Ok((Self { path: Some(path), closed: Arc::default(), bell: Some(bell) }, reader))
    }

    fn is_removed(&self) -> bool {
        self.path.as_ref().is_some_and(|path| !path.exists())
    }

    /// Starts the thread that rings whenever `wait` returns true.
    fn start(&self, topic: Topic, bells: Arc<Bells>, wait: impl Fn(&AtomicBool) -> bool + Send + 'static) {
        let closed = Arc::clone(&self.closed);
        let thread = std::thread::Builder::new().name(format!("sqlite-{}", topic.name())).stack_size(STACK);
        let spawned = thread.spawn(move || {
            while wait(&closed) && !closed.load(Ordering::Acquire) {
                bells.ring(topic);
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to hear other processes with");
        }
    }
}

impl Drop for OwnPipe {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        if let Some(path) = &self.path {
            remove(path);
        }
        if let Some(mut bell) = self.bell.take() {
            // If the pipe is full, its thread is about to wake anyway.
            let _ = bell.write(&[0]);
        }
    }
}

/// Waits for at least one byte and takes all there are.
fn read_bytes(mut reader: &File, closed: &AtomicBool) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match reader.read(&mut bytes) {
            Ok(count) => return count > 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                if !closed.load(Ordering::Acquire) {
                    tracing::error!(%error, "other processes cannot be heard any more");
                }
                return false;
            }
        }
    }
}

/// Makes the folder, searchable for everybody who can read the database, and clears what dead processes left.
fn make_folder(folder: &Path, mode: u32) -> std::io::Result<()> {
    match std::fs::create_dir(folder) {
        Ok(()) => {
            let searchable = mode | ((mode & 0o444) >> 2);
            return std::fs::set_permissions(folder, std::fs::Permissions::from_mode(searchable));
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    for entry in std::fs::read_dir(folder)?.filter_map(Result::ok) {
        let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(b".");
        let age = entry.metadata().and_then(|found| found.modified()).map(|modified| modified.elapsed());
        if is_unfinished && matches!(age, Ok(Ok(age)) if age > ABANDONED_AFTER) {
            remove(&entry.path());
        }
    }
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
fn make_pipe(path: &Path, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(mode), 0)
}

#[cfg(target_vendor = "apple")]
fn make_pipe(path: &Path, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(mode as _))
}

fn open_nonblocking(path: &Path, flags: OFlags) -> rustix::io::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from)
}

/// Removes a pipe; somebody else may have done so.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::debug!(pipe = %path.display(), %error, "a pipe of a dead process stays");
    }
}
