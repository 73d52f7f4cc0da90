//! JSON as CPython's `json` reads and writes it, with kombu's wrappers for types that JSON lacks.
//!
//! Beyond the standard: `NaN`, `Infinity` and `-Infinity`, integers of any size, lone surrogates in text. What is
//! written is ASCII with `", "` and `": "` between things, as `json.dumps` does by default and kombu leaves it.
//!
//! Sources: `json/scanner.py`, `json/decoder.py`, `json/encoder.py`, CPython 3.11; `kombu/utils/json.py`, kombu 5.7.0.

mod key;
mod parse;
mod scan;
mod wrapper;
mod write;

pub use key::Key;
pub use parse::{MAX_DEPTH, parse};
pub(crate) use parse::{Parser, Text};
pub(crate) use wrapper::keep_last;
pub(crate) use write::{ObjectWriter, float_text, write_decimal, write_int, write_list, write_str};
pub use write::{to_bytes, write};
