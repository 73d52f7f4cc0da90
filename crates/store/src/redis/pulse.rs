//! When a connection was last seen to be alive.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// When the other side of a connection last gave a sign of life.
pub(super) struct Pulse {
    born: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
}

impl Pulse {
    fn new() -> Arc<Self> {
        Arc::new(Self { born: Instant::now(), last: AtomicU64::new(0) })
    }

    /// The moment of the last sign of life, to the millisecond.
    pub(super) fn last(&self) -> Instant {
        self.born + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn beat(&self) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }
}

/// A stream that notes when something comes, and when what waited to go has gone.
pub(super) struct Heard<S> {
    stream: S,
    pulse: Arc<Pulse>,
    /// The system takes no more until the other side has taken some.
    is_full: bool,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<Pulse>) {
        let pulse = Pulse::new();
        (Self { stream, pulse: Arc::clone(&pulse), is_full: false }, pulse)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.pulse.beat();
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> Heard<S> {
    /// Notes what became of a write. One that is taken at once says nothing: it only lies with the system.
    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.is_full = true,
            Poll::Ready(Ok(1..)) if std::mem::take(&mut self.is_full) => self.pulse.beat(),
            Poll::Ready(_) => {}
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
