//! Times and durations as people type and read them. Pure.

use std::time::Duration;

use celeriac_protocol::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

/// Units of a duration, longest first.
const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("ms", 0.001), ("s", 1.0)];

/// A moment as it is typed: absolute, or from now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// This moment.
    At(Timestamp),
    /// This long after the command runs.
    In(Duration),
}

impl Moment {
    /// The moment, if the command runs `now`.
    pub(crate) fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::In(duration) => now.saturating_add(duration),
        }
    }
}

/// Reads `10`, `1.5`, `500ms`, `30s`, `5m`, `2h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit = UNITS.iter().find(|(unit, _)| {
        text.strip_suffix(unit)
            .is_some_and(|number| number.ends_with(|c: char| c.is_ascii_digit() || c == '.'))
    });
    let (number, seconds) = match unit {
        Some((unit, seconds)) => (&text[..text.len() - unit.len()], *seconds),
        None => (text, 1.0),
    };
    let number = number.parse::<f64>().ok();
    if number.is_some_and(|number| number < 0.0) {
        return Err(format!("{text:?} is negative: a duration is 0 or more"));
    }
    number
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or_else(|| format!("{text:?} is no duration: write seconds, or 500ms, 30s, 5m, 2h, 1d"))
}

/// Reads an ISO 8601 time; one without an offset is local time.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let with_offset = text.parse::<jiff::Timestamp>();
    let moment = with_offset.or_else(|_| {
        text.parse::<civil::DateTime>()
            .and_then(|local| local.to_zoned_datetime(TimeZone::system()))
            .map(|zoned| zoned.timestamp())
    });
    moment.map(|moment| Timestamp::from_micros(moment.as_microsecond())).map_err(|_| {
        format!("{text:?} is no time: write it as 2030-01-31T08:00:00Z, or without Z for local time")
    })
}

/// Reads an ISO 8601 time, or a duration from now.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    let in_duration = duration(text);
    if text.trim_start().starts_with('-') {
        return in_duration.map(Moment::In);
    }
    in_duration.map(Moment::In).or_else(|_| time(text).map(Moment::At)).map_err(|_| {
        format!("{text:?} is neither a time (2030-01-31T08:00:00Z) nor a duration (90, 30s, 5m, 2h, 1d)")
    })
}

/// A duration for people, rounded to what matters: `0.3s`, `42s`, `3m 5s`, `2h 10m`, `4d 1h`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 if duration.subsec_millis() >= 100 => format!("{:.1}s", duration.as_secs_f64()),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long ago a moment was, for people.
pub(crate) fn show_age(moment: Timestamp, now: Timestamp) -> String {
    format!("{} ago", show_duration(now.saturating_since(moment)))
}

/// A moment for programs: ISO 8601 in UTC.
pub(crate) fn iso(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_microsecond(moment.as_micros()).unwrap_or_default();
    format!("{moment:.6}")
}

/// A moment for people: local time to the second.
pub(crate) fn local_time(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_microsecond(moment.as_micros()).unwrap_or_default();
    moment.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A number of bytes for people.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / MIB as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_a_unit() {
        let cases = [
            ("10", 10_000),
            ("1.5", 1500),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1d", 86_400_000),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "-1", "soon", "5 weeks", "1e400", "ms"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_negative_duration_is_refused_as_one() {
        for text in ["-5", "-5m", "-0.5"] {
            let expected = format!("{text:?} is negative: a duration is 0 or more");
            assert_eq!(duration(text), Err(expected.clone()));
            assert_eq!(moment(text), Err(expected));
        }
    }

    #[test]
    fn times_are_read_with_their_offset() {
        let expected = Timestamp::from_micros(1_700_000_000_000_000);
        assert_eq!(time("2023-11-14T22:13:20Z"), Ok(expected));
        assert_eq!(time("2023-11-14T23:13:20+01:00"), Ok(expected));
        assert!(time("tomorrow").is_err());
        assert!(time("2023-11-14T22:13:20").is_ok());
    }

    #[test]
    fn durations_are_shown_rounded() {
        let cases = [
            (300, "0.3s"),
            (42_000, "42s"),
            (185_000, "3m 5s"),
            (7_800_000, "2h 10m"),
            (349_200_000, "4d 1h"),
        ];
        for (millis, text) in cases {
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
    }
}
