//! The child's end of its socket: whole frames out from any thread, whole frames in on one.

use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;

use super::super::frame::{self, DEFAULT_LIMIT};
use super::super::protocol::{self, FromChild};

/// Sends frames. Cheap to clone; every clone sends on the same socket, one frame after the other.
#[derive(Clone, Debug)]
pub(in super::super) struct Sender(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Closed by the end of the process and never before: a task may have closed it already, and something
    /// else may have been given its number.
    socket: Mutex<ManuallyDrop<UnixStream>>,
    limit: AtomicUsize,
}

/// Why a frame was not sent.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum SendError {
    /// The frame is too large; the connection is as it was.
    #[error(transparent)]
    Frame(#[from] frame::Error),
    /// The parent is gone.
    #[error("the worker has closed the connection")]
    Closed(#[source] io::Error),
}

impl Sender {
    pub(in super::super) fn new(socket: UnixStream) -> Self {
        Self(Arc::new(Shared {
            socket: Mutex::new(ManuallyDrop::new(socket)),
            limit: AtomicUsize::new(DEFAULT_LIMIT),
        }))
    }

    /// No frame larger than this is sent from now on.
    pub(in super::super) fn set_limit(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// Sends one frame, and waits until the system has taken it.
    pub(in super::super) fn send(&self, head: &FromChild, body: Bytes) -> Result<(), SendError> {
        let encoded = protocol::encode(head, body, self.0.limit.load(Ordering::Relaxed))?;
        let mut socket = self.0.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket
            .write_all(&encoded.start)
            .and_then(|()| socket.write_all(&encoded.body))
            .map_err(SendError::Closed)
    }
}

/// Receives frames.
#[derive(Debug)]
pub(in super::super) struct Receiver {
    socket: UnixStream,
    received: BytesMut,
    limit: usize,
}

impl Receiver {
    pub(in super::super) fn new(socket: UnixStream) -> Self {
        Self { socket, received: BytesMut::new(), limit: DEFAULT_LIMIT }
    }

    pub(in super::super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Waits for the next frame; nothing once the parent has closed the connection.
    pub(in super::super) fn receive<H: DeserializeOwned>(&mut self) -> io::Result<Option<(H, Bytes)>> {
        let mut piece = [0; 64 << 10];
        loop {
            if let Some(frame) = frame::decode(&mut self.received, self.limit).map_err(io::Error::other)? {
                return Ok(Some((serde_json::from_slice(&frame.head)?, frame.body)));
            }
            match self.socket.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(length) => self.received.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
