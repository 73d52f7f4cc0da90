//! Compression against Python's libraries under kombu's names.

use celeriac_protocol::{Compression, DecodeError};

use crate::recorded::{hex, recording, text};

const ALL: [Compression; 3] = [Compression::Zlib, Compression::Bzip2, Compression::Zstd];

#[test]
fn what_python_compressed_decompresses() {
    for case in recording!("compression").iter().filter(|case| case["hex"].is_string()) {
        let compression = Compression::from_name(text(case, "name")).unwrap();
        assert_eq!(Compression::from_name(text(case, "content_type")), Some(compression));
        assert_eq!(compression.content_type(), text(case, "content_type"));
        let plain = compression.decompress(&hex(case, "hex"), 1000).unwrap();
        assert_eq!(plain, text(case, "plain").as_bytes(), "{case}");
    }
}

#[test]
fn what_we_compress_decompresses() {
    for compression in ALL {
        for plain in [&b""[..], b"x", &[7; 100_000]] {
            let compressed = compression.compress(plain).unwrap();
            assert_eq!(compression.decompress(&compressed, 100_000).unwrap(), plain, "{compression:?}");
        }
    }
}

#[test]
fn the_limit_holds_before_the_memory_is_taken() {
    for compression in ALL {
        let bomb = compression.compress(&vec![0; 20 << 20]).unwrap();
        assert!(bomb.len() < 200_000, "{compression:?}");
        assert_eq!(compression.decompress(&bomb, 1000), Err(DecodeError::TooLarge { limit: 1000 }));
        assert_eq!(compression.decompress(&bomb, 20 << 20).unwrap().len(), 20 << 20);
    }
}

#[test]
fn data_that_is_cut_short_or_foreign_is_corrupt() {
    for compression in ALL {
        let compressed = compression.compress(&[7; 1000]).unwrap();
        for bytes in [&compressed[..compressed.len() - 3], b"not compressed at all", b""] {
            let error = compression.decompress(bytes, 10_000).unwrap_err();
            assert_eq!(error, DecodeError::Corrupt { compression: compression.name() }, "{bytes:?}");
        }
    }
}
