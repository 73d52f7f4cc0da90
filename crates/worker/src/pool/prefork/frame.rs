//! Frames: how a parent and its child cut their socket into pieces, a JSON head and a raw body each.
//!
//! ```text
//! ┌────────┬─────────────┬──────────────────┬───────────────────────┐
//! │ length │ head length │ head: JSON       │ body: bytes as they   │
//! │ u32    │ u32         │ (UTF-8)          │ are, often none       │
//! └────────┴─────────────┴──────────────────┴───────────────────────┘
//! ```
//!
//! Integers are big-endian, and `length` counts everything that follows it. A length beyond the
//! agreed limit is refused before anything is allocated for it.

use bytes::{Buf, Bytes, BytesMut};

/// The two lengths in front of every head.
pub(super) const PREFIX: usize = 8;

/// The largest frame unless the options say otherwise, its lengths not counted.
pub(crate) const DEFAULT_LIMIT: usize = 256 << 20;

/// What a frame holds besides a body: the head, and the headers of a message.
const HEADS: usize = 1 << 20;

/// The largest frame where bodies of this size are to go through: a length has four bytes.
pub(super) fn limit_for(body: usize) -> usize {
    body.saturating_add(HEADS).min(u32::MAX as usize)
}

/// Bodies up to this size are copied behind their head, so that they leave in one write.
const COPIED: usize = 16 << 10;

/// One frame as it was received: the head still JSON, the body as it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

/// Why bytes are not a frame, or a frame cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The frame is larger than the limit both sides agreed on.
    #[error("a frame of {size} bytes is beyond the limit of {limit}")]
    TooLarge { size: usize, limit: usize },

    /// The head is said to be longer than its frame.
    #[error("a frame of {frame} bytes claims a head of {head}")]
    Malformed { head: usize, frame: usize },
}

/// A frame ready to be written: first `start`, then `body` unless it is empty.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) start: Vec<u8>,
    pub(super) body: Bytes,
}

/// Puts the lengths in front of `head`, and a small body behind it.
///
/// # Errors
///
/// [`Error::TooLarge`] if the frame is beyond `limit`.
pub(super) fn encode(head: &[u8], body: Bytes, limit: usize) -> Result<Encoded, Error> {
    let size = PREFIX - 4 + head.len() + body.len();
    let too_large = || Error::TooLarge { size, limit };
    if size > limit {
        return Err(too_large());
    }
    let length = u32::try_from(size).map_err(|_| too_large())?;
    let head_length = u32::try_from(head.len()).map_err(|_| too_large())?;
    let copied = if body.len() <= COPIED { body.len() } else { 0 };
    let mut start = Vec::with_capacity(PREFIX + head.len() + copied);
    start.extend_from_slice(&length.to_be_bytes());
    start.extend_from_slice(&head_length.to_be_bytes());
    start.extend_from_slice(head);
    if copied > 0 {
        start.extend_from_slice(&body);
        return Ok(Encoded { start, body: Bytes::new() });
    }
    Ok(Encoded { start, body })
}

/// Takes the first frame out of `input`, or nothing while it is not complete.
///
/// # Errors
///
/// After an error the stream has lost its place, so the connection is of no more use.
pub(super) fn decode(input: &mut BytesMut, limit: usize) -> Result<Option<Frame>, Error> {
    let Some(lengths) = input.first_chunk::<PREFIX>() else { return Ok(None) };
    let [a, b, c, d, e, f, g, h] = *lengths;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    let head = u32::from_be_bytes([e, f, g, h]) as usize;
    if size > limit {
        return Err(Error::TooLarge { size, limit });
    }
    let payload = size.checked_sub(PREFIX - 4).ok_or(Error::Malformed { head, frame: size })?;
    if head > payload {
        return Err(Error::Malformed { head, frame: size });
    }
    if input.len() < PREFIX + payload {
        return Ok(None);
    }
    input.advance(PREFIX);
    let head = input.split_to(head).freeze();
    let body = input.split_to(payload - head.len()).freeze();
    Ok(Some(Frame { head, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(head: &[u8], body: &[u8]) -> Vec<u8> {
        let encoded = encode(head, Bytes::copy_from_slice(body), DEFAULT_LIMIT).unwrap();
        [encoded.start, encoded.body.to_vec()].concat()
    }

    #[test]
    fn a_frame_comes_back_however_it_was_cut() {
        let large = vec![7; 3 * COPIED];
        let wire = [bytes_of(b"{}", b"small"), bytes_of(b"{\"a\":1}", &large), bytes_of(b"{}", b"")].concat();
        for step in [1, 3, 7, 4096, wire.len()] {
            let mut input = BytesMut::new();
            let mut frames = Vec::new();
            for piece in wire.chunks(step) {
                input.extend_from_slice(piece);
                while let Some(frame) = decode(&mut input, DEFAULT_LIMIT).unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.len(), 3);
            assert_eq!(frames[0], Frame { head: "{}".into(), body: "small".into() });
            assert_eq!(frames[1].body, large);
            assert!(input.is_empty());
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_length_alone() {
        let mut input = BytesMut::from(&bytes_of(b"{}", &[0; 100])[..PREFIX]);
        assert!(matches!(decode(&mut input, 99), Err(Error::TooLarge { size: 106, limit: 99 })));
        assert!(encode(b"{}", Bytes::from(vec![0; 100]), 99).is_err());
    }

    #[test]
    fn lengths_that_contradict_each_other_are_an_error_and_no_panic() {
        for (size, head) in [(0_u32, 0_u32), (3, 0), (4, 1), (10, u32::MAX), (8, 5)] {
            let mut input = BytesMut::new();
            input.extend_from_slice(&size.to_be_bytes());
            input.extend_from_slice(&head.to_be_bytes());
            input.extend_from_slice(&[0; 16]);
            assert!(
                matches!(decode(&mut input, DEFAULT_LIMIT), Err(Error::Malformed { .. })),
                "{size} {head}"
            );
        }
    }
}
