//! How many calls a second one program sends: composed only, into memory, and into SQLite, in bulk and one by one.
//!
//! `cargo bench -p celeriac-app --bench send -- [CALLS] [BATCH]`

use std::time::{Duration, Instant};

use celeriac_app::{App, SendError, Signature};
use rustix::time::{ClockId, clock_gettime};

fn call(n: usize) -> Signature<i64> {
    Signature::named("bench.add", celeriac_app::args![n, "http://example.org/"], celeriac_app::kwargs! {})
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let calls = numbers.first().copied().unwrap_or(200_000);
    let batch = numbers.get(1).copied().unwrap_or(1000);
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let on = |url: String| App::new("bench").settings(move |settings| settings.broker_url = url);

    let memory = on("memory://bench-send".into());
    report("composed only", calls, || (0..calls).try_for_each(|n| memory.compose(None, call(n)).map(drop)))?;
    report("memory, in bulk", calls, || runtime.block_on(send_in_bulk(&memory, calls, batch)))?;
    let sqlite = on(format!("sqlite:///{}", folder.path().join("bench.db").display()));
    runtime.block_on(sqlite.store())?;
    report("SQLite, in bulk", calls, || runtime.block_on(send_in_bulk(&sqlite, calls, batch)))?;
    let few = calls / 20;
    report("SQLite, one by one", few, || {
        runtime.block_on(async {
            for n in 0..few {
                sqlite.send(call(n)).await?;
            }
            Ok::<_, SendError>(())
        })
    })?;
    Ok(())
}

async fn send_in_bulk(app: &App, calls: usize, batch: usize) -> Result<(), SendError> {
    for start in (0..calls).step_by(batch) {
        app.send_many((start..calls.min(start + batch)).map(call)).await?;
    }
    Ok(())
}

/// Prints calls per second of wall-clock time, and per second that any CPU worked for this process: the second
/// figure holds on a busy machine too.
fn report<E>(what: &str, calls: usize, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let (started, cpu) = (Instant::now(), cpu_time());
    work()?;
    let (wall, cpu) = (started.elapsed(), cpu_time() - cpu);
    let per_second = |time: Duration| calls as f64 / time.as_secs_f64();
    println!("{what:<20} {calls:>8} calls {:>9.0}/s {:>9.0}/CPU second", per_second(wall), per_second(cpu));
    Ok(())
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
