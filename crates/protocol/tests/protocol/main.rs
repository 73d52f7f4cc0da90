//! Tests of the wire format, in both directions.

mod round_trips;
