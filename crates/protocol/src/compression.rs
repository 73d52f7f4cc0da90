//! Compression of bodies under kombu's names.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use crate::{DecodeError, EncodeError};

/// How large a decompressed body may be unless the caller says otherwise: 256 MiB.
pub const DEFAULT_LIMIT: usize = 256 << 20;

/// How a body is compressed.
///
/// Source: `kombu/compression.py`, kombu 5.7.0, which has brotli and lzma besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// `zlib` or `gzip`, both of which are the zlib format in kombu.
    Zlib,
    /// `bzip2`.
    Bzip2,
    /// `zstd`.
    Zstd,
}

impl Compression {
    /// The compression with this name, such as `zlib`, or this content type, such as `application/x-gzip`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "zlib" | "gzip" | "application/x-gzip" => Some(Self::Zlib),
            "bzip2" | "bzip" | "application/x-bz2" => Some(Self::Bzip2),
            "zstd" | "zstandard" | "application/zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name, as the `task_compression` setting has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
        }
    }

    /// The content type, as the `compression` header has it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Zlib => "application/x-gzip",
            Self::Bzip2 => "application/x-bz2",
            Self::Zstd => "application/zstd",
        }
    }

    /// Compresses `bytes` at the level that Python's library defaults to.
    ///
    /// # Errors
    ///
    /// When the library fails, for want of memory.
    pub fn compress(self, bytes: &[u8]) -> Result<Vec<u8>, EncodeError> {
        let compressed = match self {
            Self::Zlib => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Self::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(9));
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Self::Zstd => zstd::bulk::compress(bytes, 3),
        };
        compressed.map_err(|_| EncodeError::Compression { compression: self.name() })
    }

    /// Decompresses `bytes` into at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// When `bytes` are no such data, are cut short, or hold more than `limit` bytes.
    pub fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        let read = match self {
            Self::Zlib => read_limited(flate2::bufread::ZlibDecoder::new(bytes), limit),
            Self::Bzip2 => read_limited(bzip2::bufread::MultiBzDecoder::new(bytes), limit),
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(bytes)
                .and_then(|decoder| read_limited(decoder, limit)),
        };
        match read {
            Ok(Some(decompressed)) => Ok(decompressed),
            Ok(None) => Err(DecodeError::TooLarge { limit }),
            Err(_) => Err(DecodeError::Corrupt { compression: self.name() }),
        }
    }
}

/// Reads to the end, or gives up with `None` once there is more than `limit`.
fn read_limited(reader: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// The body of a message as its serializer wrote it: decompressed if its `compression` header says so.
///
/// # Errors
///
/// When the compression is unknown, or the bytes are not what it promises, or larger than `limit`.
pub fn plain_body<'a>(
    body: &'a [u8],
    compression: Option<&str>,
    limit: usize,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let Some(name) = compression else {
        return if body.len() <= limit {
            Ok(Cow::Borrowed(body))
        } else {
            Err(DecodeError::TooLarge { limit })
        };
    };
    match Compression::from_name(name) {
        Some(compression) => compression.decompress(body, limit).map(Cow::Owned),
        None => Err(DecodeError::Compression { compression: name.into() }),
    }
}
