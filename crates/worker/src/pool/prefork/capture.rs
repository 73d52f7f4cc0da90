//! What a child prints: read without waiting, cut into lines, and logged with the child's name and its task's id.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::child::log::LINE_BREAK;
use super::sys;
use crate::request::Request;

/// A line longer than this is logged in pieces. A record of a child's log with a backtrace is one line here.
const LONGEST_LINE: usize = 64 << 10;

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// How many pieces are read in a row while others may be waiting for their turn.
const PIECES: usize = 8;

/// The target under which lines of children are logged.
const TARGET: &str = "celeriac::child";

/// Which output of the child.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Out,
    Err,
}

/// The parent's end of one output of a child.
#[derive(Debug)]
pub(super) struct Capture {
    pipe: AsyncFd<OwnedFd>,
    stream: Stream,
    /// What came after the last line end.
    rest: Vec<u8>,
    is_open: bool,
    /// Whether reading stopped before there was nothing left.
    has_more: bool,
}

impl Capture {
    /// Reads from this pipe from now on, never waiting for it.
    pub(super) fn new(pipe: OwnedFd, stream: Stream) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: sys::watch(pipe)?, stream, rest: Vec::new(), is_open: true, has_more: false })
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Waits until there is something to read. Cancel safe.
    pub(super) async fn readable(&self) {
        if self.has_more {
            return;
        }
        // An error shows again when it is read.
        if let Ok(mut guard) = self.pipe.readable().await {
            guard.clear_ready();
        }
    }

    /// Logs what was printed until now, as lines of `task`.
    ///
    /// With `all`, what is there is read to its end, and a last line without an end is logged too: the task is over.
    pub(super) fn log(&mut self, child: &str, task: Option<&Request>, all: bool) {
        let mut piece = [0; PIECE];
        // A child that prints without end must not keep its parent here, not even at the end of a task.
        self.has_more = true;
        for _ in 0..if all { 8 * PIECES } else { PIECES } {
            match rustix::io::read(self.pipe.get_ref().as_fd(), &mut piece) {
                Ok(0) => self.is_open = false,
                Ok(length) => {
                    self.rest.extend_from_slice(&piece[..length]);
                    self.log_lines(child, task);
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => self.is_open = false,
            }
            self.has_more = false;
            break;
        }
        if (all || !self.is_open) && !self.rest.is_empty() {
            log_line(self.stream, child, task, &std::mem::take(&mut self.rest));
        }
    }

    fn log_lines(&mut self, child: &str, task: Option<&Request>) {
        let mut start = 0;
        while let Some(length) = next_line(&self.rest[start..]) {
            log_line(self.stream, child, task, &self.rest[start..start + length]);
            start += length;
        }
        self.rest.drain(..start);
    }
}

/// The length of the first line with its end, or of as much of it as is logged at once; nothing if it is not complete.
fn next_line(text: &[u8]) -> Option<usize> {
    let line = &text[..text.len().min(LONGEST_LINE)];
    let end = line.iter().position(|byte| *byte == b'\n');
    end.map(|at| at + 1).or_else(|| (line.len() == LONGEST_LINE).then_some(LONGEST_LINE))
}

fn log_line(stream: Stream, child: &str, task: Option<&Request>, line: &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    let (level, line) = level_of(stream, &line);
    let line = lines_of(line);
    let task_id = task.map(|task| task.id.as_str());
    let task_name = task.map(|task| task.name().as_str());
    match level {
        tracing::Level::ERROR => tracing::error!(target: TARGET, child, task_id, task_name, "{line}"),
        tracing::Level::WARN => tracing::warn!(target: TARGET, child, task_id, task_name, "{line}"),
        tracing::Level::INFO => tracing::info!(target: TARGET, child, task_id, task_name, "{line}"),
        tracing::Level::DEBUG => tracing::debug!(target: TARGET, child, task_id, task_name, "{line}"),
        tracing::Level::TRACE => tracing::trace!(target: TARGET, child, task_id, task_name, "{line}"),
    }
}

/// The lines of a record.
fn lines_of(record: &str) -> Cow<'_, str> {
    match record.contains(LINE_BREAK) {
        true => Cow::Owned(record.replace(LINE_BREAK, "\n")),
        false => Cow::Borrowed(record),
    }
}

/// The level of a line: named by a prefix such as `<4>`, else that of its stream.
///
/// Source: sd-daemon(3), after syslog(3).
fn level_of(stream: Stream, line: &str) -> (tracing::Level, &str) {
    let level = |digit| match digit {
        b'0'..=b'3' => Some(tracing::Level::ERROR),
        b'4' => Some(tracing::Level::WARN),
        b'5' | b'6' => Some(tracing::Level::INFO),
        b'7' => Some(tracing::Level::DEBUG),
        b'8' => Some(tracing::Level::TRACE),
        _ => None,
    };
    if let [b'<', digit, b'>', ..] = line.as_bytes()
        && let Some(level) = level(*digit)
    {
        return (level, &line[3..]);
    }
    match stream {
        Stream::Out => (tracing::Level::INFO, line),
        Stream::Err => (tracing::Level::WARN, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_line_is_cut() {
        let text = vec![b'x'; 3 * LONGEST_LINE + 5];
        assert_eq!(next_line(&text), Some(LONGEST_LINE));
        assert_eq!(next_line(b"no end"), None);
        assert_eq!(next_line(b"one\ntwo\n"), Some(4));
        assert_eq!(next_line(b"\n"), Some(1));
    }

    #[test]
    fn a_record_of_several_lines_is_one_record() {
        let line = format!("<3>panicked: no{LINE_BREAK}   0: main");
        let (level, record) = level_of(Stream::Err, &line);
        assert_eq!((level, &*lines_of(record)), (tracing::Level::ERROR, "panicked: no\n   0: main"));
    }

    #[test]
    fn a_line_may_name_its_level() {
        assert_eq!(level_of(Stream::Out, "<3>bad"), (tracing::Level::ERROR, "bad"));
        assert_eq!(level_of(Stream::Out, "<b>bold"), (tracing::Level::INFO, "<b>bold"));
        assert_eq!(level_of(Stream::Err, "plain"), (tracing::Level::WARN, "plain"));
    }
}
