//! Fuzz targets, one per decoder of bytes from outside. See `README.md` beside this crate's manifest.

pub mod decoders;
