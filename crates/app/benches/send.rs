//! How many calls a second one program sends: composed only, into memory, and into SQLite, in bulk and one by one.
//!
//! `cargo bench -p celeriac-app --bench send -- [CALLS] [BATCH]`

use std::time::Instant;

use celeriac_app::{App, SendError, Signature};

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

fn report<E>(what: &str, calls: usize, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let started = Instant::now();
    work()?;
    let per_second = calls as f64 / started.elapsed().as_secs_f64();
    println!("{what:<20} {calls:>8} calls  {per_second:>10.0} calls/s");
    Ok(())
}
