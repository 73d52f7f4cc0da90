//! Times against Python's `isoformat` and dateutil's `isoparse`.

use celeriac_protocol::{Timestamp, Value};

use crate::recorded::{recording, text};

#[test]
fn a_time_is_written_as_isoformat_writes_it() {
    for case in recording!("timestamps").iter().filter(|case| case["written"].is_string()) {
        let moment = Timestamp::from_micros(case["micros"].as_i64().unwrap());
        assert_eq!(moment.to_string(), text(case, "written"));
        assert_eq!(text(case, "written").parse(), Ok(moment));
    }
}

#[test]
fn a_time_is_read_as_celery_reads_it() {
    for case in recording!("timestamps").iter().filter(|case| case["text"].is_string()) {
        let ours: Option<Timestamp> = text(case, "text").parse().ok();
        assert_eq!(ours.map(Timestamp::as_micros), case["micros"].as_i64(), "{case}");
    }
}

#[test]
fn no_moment_panics() {
    for micros in [i64::MIN, i64::MAX, -1, 0] {
        assert!(!Timestamp::from_micros(micros).to_string().is_empty());
    }
}

#[test]
fn a_time_is_a_datetime_to_python_and_text_elsewhere() {
    let moment: Timestamp = "2026-11-23T12:30:00Z".parse().unwrap();
    let value = Value::from_serialize(&moment).unwrap();
    assert_eq!(value, Value::DateTime("2026-11-23T12:30:00+00:00".into()));
    assert_eq!(value.deserialize_into::<Timestamp>().unwrap(), moment);
    assert_eq!(serde_json::to_string(&moment).unwrap(), r#""2026-11-23T12:30:00+00:00""#);
}
