//! The parent's end of the socket of one child: watched by the runtime, or left alone until it is read.
//!
//! A socket that is watched wakes the worker with each thing that its child says, whether anybody wants to know it yet or
//! not. One that is left alone costs nothing meanwhile.

use std::io;
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::unix::AsyncFd;

use super::sys::{self, retried};

/// How much is read from a child before others have their turn.
const PIECE: usize = 64 << 10;

/// How much is made room for as long as that has been enough: what was read is kept until it has been heard.
const USUAL: usize = 8 << 10;

/// One socket. Nothing waits here but what says so.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    /// The same once more, while it is watched.
    watch: Option<AsyncFd<OwnedFd>>,
    /// Whether the last reading filled what it had room for.
    has_more: bool,
}

/// What came of reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Bytes(usize),
    /// Not now.
    Nothing,
    /// And never again: the other side has closed its end, or is gone.
    Over,
}

impl Channel {
    /// Watches this socket.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let mut channel = Self { socket, watch: None, has_more: false };
        channel.watch()?;
        Ok(channel)
    }

    /// What comes and goes is noticed from now on.
    pub(super) fn watch(&mut self) -> io::Result<()> {
        if self.watch.is_none() {
            self.watch = Some(sys::watch(self.socket.try_clone()?)?);
        }
        Ok(())
    }

    /// What comes and goes is not noticed any more.
    pub(super) fn leave_alone(&mut self) {
        self.watch = None;
    }

    /// Waits until there is something to read: for ever, if the socket is left alone. Cancel safe.
    pub(super) async fn readable(&self) {
        match &self.watch {
            _ if self.has_more => {}
            // An error shows again when it is read.
            Some(watch) => drop(watch.readable().await.map(|mut guard| guard.clear_ready())),
            None => std::future::pending().await,
        }
    }

    /// Waits until something can be written, in the same way.
    pub(super) async fn writable(&self) {
        match &self.watch {
            Some(watch) => drop(watch.writable().await.map(|mut guard| guard.clear_ready())),
            None => std::future::pending().await,
        }
    }

    /// Whether more may be there than the last reading took.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Reads a piece of what is there, and puts it behind what was read before.
    pub(super) fn read(&mut self, received: &mut BytesMut) -> Moved {
        let (start, room) = (received.len(), if self.has_more { PIECE } else { USUAL });
        received.resize(start + room, 0);
        let read = retried(|| rustix::io::read(&self.socket, &mut received[start..]));
        received.truncate(start + read.unwrap_or(0));
        self.has_more = read == Ok(room);
        match read {
            Ok(0) => Moved::Over,
            read => Moved::of(read),
        }
    }

    /// Writes as much of this as there is room for.
    pub(super) fn write(&self, bytes: &[u8]) -> Moved {
        // Without the signal that a closed socket means otherwise.
        Moved::of(retried(|| rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL)))
    }
}

impl Moved {
    fn of(result: rustix::io::Result<usize>) -> Self {
        match result {
            Ok(bytes) => Self::Bytes(bytes),
            Err(Errno::AGAIN) => Self::Nothing,
            Err(_) => Self::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use tokio::time::timeout;

    use super::*;

    fn pair() -> (Channel, OwnedFd) {
        let kind = SocketType::STREAM;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        (Channel::new(ours).unwrap(), theirs)
    }

    async fn is_noticed(channel: &Channel) -> bool {
        timeout(Duration::from_millis(50), channel.readable()).await.is_ok()
    }

    #[tokio::test]
    async fn what_is_left_alone_is_not_noticed_but_there() {
        let (mut channel, child) = pair();
        rustix::io::write(&child, b"first").unwrap();
        assert!(is_noticed(&channel).await);
        let mut received = BytesMut::new();
        assert_eq!(channel.read(&mut received), Moved::Bytes(5));
        assert_eq!(channel.read(&mut received), Moved::Nothing);
        channel.leave_alone();
        rustix::io::write(&child, b", second").unwrap();
        assert!(!is_noticed(&channel).await);
        channel.watch().unwrap();
        assert!(is_noticed(&channel).await, "it was said before the socket was watched again");
        assert_eq!(channel.read(&mut received), Moved::Bytes(8));
        assert_eq!(received, "first, second");
    }

    #[tokio::test]
    async fn what_does_not_fit_into_one_reading_is_noticed_again() {
        let (mut channel, child) = pair();
        rustix::io::write(&child, &vec![7; USUAL + 1]).unwrap();
        let mut received = BytesMut::new();
        for (bytes, has_more) in [(USUAL, true), (1, false)] {
            assert!(is_noticed(&channel).await);
            assert_eq!(channel.read(&mut received), Moved::Bytes(bytes));
            assert_eq!(channel.has_more(), has_more);
        }
        assert!(!is_noticed(&channel).await);
    }

    #[tokio::test]
    async fn a_closed_socket_is_over() {
        let (mut channel, child) = pair();
        drop(child);
        assert!(is_noticed(&channel).await);
        assert_eq!(channel.read(&mut BytesMut::new()), Moved::Over);
        assert_eq!(channel.write(b"anybody?"), Moved::Over);
    }

    #[tokio::test]
    async fn a_full_socket_takes_nothing_until_it_is_read() {
        let (channel, child) = pair();
        let piece = vec![7; PIECE];
        while channel.write(&piece) != Moved::Nothing {}
        let is_writable = || timeout(Duration::from_millis(50), channel.writable());
        // What the runtime knew from before.
        let _ = is_writable().await;
        assert!(is_writable().await.is_err());
        while rustix::io::ioctl_fionread(&child).unwrap() > 0 {
            rustix::io::read(&child, &mut vec![0; PIECE]).unwrap();
        }
        is_writable().await.unwrap();
        assert!(matches!(channel.write(&piece), Moved::Bytes(_)));
    }
}
