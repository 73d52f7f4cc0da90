//! Wall-clock time as Celery writes it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Value;

/// A moment of wall-clock time: microseconds since 1970-01-01T00:00:00Z.
///
/// Microseconds because Python's `datetime` has them; what comes from the wire survives a round trip.
/// Its text is ISO 8601 as `datetime.isoformat()` writes it for UTC, and as `dateutil` reads it:
///
/// ```
/// use celeriac_protocol::Timestamp;
///
/// let eta: Timestamp = "2026-11-23T14:30:00.250000+02:00".parse().unwrap();
/// assert_eq!(eta.to_string(), "2026-11-23T12:30:00.250000+00:00");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Timestamp {
    /// The moment this many microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The moment `duration` later, or the last representable one.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Writes `2026-11-23T12:30:00+00:00`, with six digits of a fraction unless it is zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(MICROS_PER_SECOND);
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let mut text = [0_u8; 32];
        // Python's years have four digits; what lies beyond is not for Python to read.
        if !(0..=9999).contains(&year) {
            return write!(
                f,
                "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00"
            );
        }
        text[..26].copy_from_slice(b"0000-00-00T00:00:00.000000");
        put(&mut text[0..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], hour);
        put(&mut text[14..16], minute);
        put(&mut text[17..19], second);
        put(&mut text[20..26], micros);
        let end = if micros == 0 { 19 } else { 26 };
        text[end..end + 6].copy_from_slice(b"+00:00");
        f.write_str(std::str::from_utf8(&text[..end + 6]).unwrap_or_default())
    }
}

/// Writes a number into its digits, with leading zeros.
fn put(digits: &mut [u8], mut number: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The date of a day counted from 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day of a date, counted from 1970-01-01: the reverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_shifted = (month + 9) % 12;
    let of_year = (153 * month_shifted + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// Not a date and time that Python's ISO 8601 parsers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 date and time")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads ISO 8601 in its extended or basic form; without an offset it is UTC, as Celery takes it.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Reader(text.as_bytes()).timestamp().ok_or(TimestampError)
    }
}

/// Reads the parts of an ISO 8601 text one after the other.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn timestamp(&mut self) -> Option<Timestamp> {
        let year = self.digits(4).filter(|year| *year > 0)?;
        let extended = self.eat(b'-');
        let month = self.digits(2).filter(|month| (1..=12).contains(month))?;
        if extended && !self.eat(b'-') {
            return None;
        }
        let day = self.digits(2)?;
        let days = days(year, month, day);
        if civil(days) != (year, month, day) {
            return None;
        }
        let (of_day, micros) = if self.0.is_empty() { (0, 0) } else { self.time_of_day()? };
        let offset = self.offset()?;
        let seconds = days * SECONDS_PER_DAY + of_day - offset;
        self.0.is_empty().then_some(Timestamp(seconds * MICROS_PER_SECOND + micros))
    }

    /// `T12:30:00.25`: seconds, and microseconds beside them.
    fn time_of_day(&mut self) -> Option<(i64, i64)> {
        if !self.eat(b'T') && !self.eat(b' ') && !self.eat(b't') {
            return None;
        }
        let hour = self.digits(2).filter(|hour| *hour < 24)?;
        let extended = self.eat(b':');
        if !extended && !self.0.first().is_some_and(u8::is_ascii_digit) {
            return Some((hour * 3600, 0));
        }
        let minute = self.digits(2).filter(|minute| *minute < 60)?;
        let more = if extended { self.eat(b':') } else { self.0.first().is_some_and(u8::is_ascii_digit) };
        if !more {
            return Some((hour * 3600 + minute * 60, 0));
        }
        let second = self.digits(2).filter(|second| *second < 60)?;
        let micros = if self.eat(b'.') || self.eat(b',') { self.fraction()? } else { 0 };
        Some((hour * 3600 + minute * 60 + second, micros))
    }

    /// The digits of a fraction as microseconds; digits beyond are dropped.
    fn fraction(&mut self) -> Option<i64> {
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        let micros =
            (0..6).fold(0, |sum, at| sum * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0')));
        (len > 0).then_some(micros)
    }

    /// `Z`, `+02:00`, `+0200`, `+02`, with seconds as Python writes them, or nothing.
    fn offset(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.eat(b'Z') || self.eat(b'z') {
            return Some(0);
        }
        let sign = if self.eat(b'+') {
            1
        } else if self.eat(b'-') {
            -1
        } else {
            return None;
        };
        let mut seconds = self.digits(2).filter(|hours| *hours < 24)? * 3600;
        for unit in [60, 1] {
            if self.0.is_empty() {
                break;
            }
            self.eat(b':');
            seconds += self.digits(2).filter(|part| *part < 60)? * unit;
        }
        Some(sign * seconds)
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits
            .iter()
            .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for Value {
    fn from(timestamp: Timestamp) -> Self {
        Self::DateTime(timestamp.to_string().into())
    }
}

/// To Python it is a `datetime`, elsewhere ISO 8601 text.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::from(*self).serialize(serializer)
    }
}

/// From a `datetime` or ISO 8601 text.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
