//! What the system says that this process has used.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use celeriac_protocol::Value;

/// What this process has used of the system, its threads together and its children not counted, by the names of Python.
///
/// Source: `WorkController.rusage`, `celery/worker/worker.py`, Celery 5.7.0.
///
/// # Errors
/// What the system says.
#[expect(unsafe_code, reason = "rustix has no form of getrusage")]
pub(super) fn of_this_process() -> io::Result<Value> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a live local of the type that getrusage fills, and rusage is plain integers, for which
    // zeroes are a valid value should it not be filled.
    let (answer, usage) =
        unsafe { (libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), usage.assume_init()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = |time: libc::timeval| {
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        let time =
            Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)) + Duration::from_micros(micros);
        Value::Float(time.as_secs_f64())
    };
    let counts = [
        ("maxrss", usage.ru_maxrss),
        ("ixrss", usage.ru_ixrss),
        ("idrss", usage.ru_idrss),
        ("isrss", usage.ru_isrss),
        ("minflt", usage.ru_minflt),
        ("majflt", usage.ru_majflt),
        ("nswap", usage.ru_nswap),
        ("inblock", usage.ru_inblock),
        ("oublock", usage.ru_oublock),
        ("msgsnd", usage.ru_msgsnd),
        ("msgrcv", usage.ru_msgrcv),
        ("nsignals", usage.ru_nsignals),
        ("nvcsw", usage.ru_nvcsw),
        ("nivcsw", usage.ru_nivcsw),
    ];
    let mut used = vec![("utime".into(), seconds(usage.ru_utime)), ("stime".into(), seconds(usage.ru_stime))];
    used.extend(counts.map(|(name, count)| (name.into(), Value::Int(count))));
    Ok(Value::Map(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_time_and_memory() {
        let used = of_this_process().unwrap();
        assert!(matches!(used.get("utime"), Some(Value::Float(time)) if *time >= 0.0), "{used:?}");
        assert!(used.get("maxrss").and_then(Value::as_i64).is_some_and(|most| most > 0), "{used:?}");
    }
}
