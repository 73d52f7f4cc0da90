//! Jobs that a child is given ahead: it goes on with the next one without asking, and none is bound to it.
//!
//! They lie in a socket of whole packets, of which the parent keeps the child's end too. Whoever reads a packet has the job: the
//! child when it is free for it, or the parent when it wants the job back, for a child that has nothing to do, because the
//! task was revoked, or because this child ends. The kernel decides between the two, so a job is never run twice and never lost.
//!
//! ```text
//! ┌──────────────┬───────────────────────────────┐
//! │ number, u64  │ the frame of the job          │   one packet; integers are big-endian
//! └──────────────┴───────────────────────────────┘
//! ```

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, recv, sendmsg,
    socketpair,
};

use super::frame::Encoded;
use super::sys::retried;

/// How many jobs a child has at most besides the one that it runs.
pub(super) const AHEAD: usize = 32;

/// Both ends of this socket, as the parent keeps them beside the one that the child has.
#[derive(Debug)]
pub(super) struct Ahead {
    ours: OwnedFd,
    /// From which the child reads as well.
    theirs: OwnedFd,
}

impl Ahead {
    /// A socket without jobs, and the child's end of it.
    pub(super) fn new() -> std::io::Result<(Self, OwnedFd)> {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let childs = theirs.try_clone()?;
        Ok((Self { ours, theirs }, childs))
    }

    /// Puts a job behind the others. False if there is no room for it, or it is too large for a packet.
    pub(super) fn give(&self, number: u64, frame: &Encoded) -> bool {
        if !frame.body.is_empty() {
            return false;
        }
        let number = number.to_be_bytes();
        let pieces = [IoSlice::new(&number), IoSlice::new(&frame.start)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        retried(|| sendmsg(&self.ours, &pieces, &mut SendAncillaryBuffer::default(), flags)).is_ok()
    }

    /// Takes the job back that was given first of those that the child has not taken; its number.
    pub(super) fn take_back(&self) -> Option<u64> {
        let mut number = [0; 8];
        // The rest of the packet is dropped with it.
        let (read, _) = retried(|| recv(&self.theirs, &mut number[..], RecvFlags::DONTWAIT)).ok()?;
        (read == number.len()).then_some(u64::from_be_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rustix::io::Errno;

    use super::*;

    fn frame(size: usize) -> Encoded {
        Encoded { start: vec![7; size], body: Bytes::new() }
    }

    #[test]
    fn jobs_are_taken_in_their_order_by_whoever_is_first() {
        let (ahead, child) = Ahead::new().unwrap();
        for number in 1..=3 {
            assert!(ahead.give(number, &frame(100)));
        }
        let mut packet = [0; 200];
        let (size, _) = recv(&child, &mut packet[..], RecvFlags::DONTWAIT).unwrap();
        assert_eq!((size, &packet[..8]), (108, &1u64.to_be_bytes()[..]));
        assert_eq!(ahead.take_back(), Some(2));
        assert_eq!(ahead.take_back(), Some(3));
        assert_eq!(ahead.take_back(), None);
        assert_eq!(recv(&child, &mut packet[..], RecvFlags::DONTWAIT).unwrap_err(), Errno::AGAIN);
    }

    #[test]
    fn what_a_dead_child_has_not_taken_is_still_there() {
        let (ahead, child) = Ahead::new().unwrap();
        ahead.give(1, &frame(100));
        drop(child);
        assert!(ahead.give(2, &frame(100)));
        assert_eq!([ahead.take_back(), ahead.take_back(), ahead.take_back()], [Some(1), Some(2), None]);
    }

    #[test]
    fn a_child_that_takes_nothing_is_full_sometime() {
        let (ahead, _child) = Ahead::new().unwrap();
        let given = (1..10_000).take_while(|number| ahead.give(*number, &frame(16 << 10))).count() as u64;
        assert!((4..1000).contains(&given), "{given}");
        assert_eq!(ahead.take_back(), Some(1));
    }

    #[test]
    fn a_job_with_a_large_body_goes_another_way() {
        let (ahead, _child) = Ahead::new().unwrap();
        assert!(!ahead.give(1, &Encoded { start: vec![7; 100], body: Bytes::from_static(b"large") }));
    }
}
