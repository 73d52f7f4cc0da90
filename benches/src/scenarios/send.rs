//! How fast a program sends.

use std::time::Instant;

use super::app_in;
use crate::Result;
use crate::report::Figure;
use crate::tasks::nothing;

const SINGLE: u32 = 10_000;
const BULK: u32 = 300_000;
const BATCH: u32 = 1_000;

/// Each call waits until the store has the one before.
pub(crate) async fn one_by_one() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let app = app_in(folder.path());
    nothing.delay(&app).await?;
    let began = Instant::now();
    for _ in 0..SINGLE {
        nothing.delay(&app).await?;
    }
    Ok(vec![Figure::new("send one by one", "tasks/s", f64::from(SINGLE) / began.elapsed().as_secs_f64())])
}

/// A thousand calls in each round trip.
pub(crate) async fn in_bulk() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let app = app_in(folder.path());
    nothing.delay(&app).await?;
    let began = Instant::now();
    for _ in 0..BULK / BATCH {
        app.send_many((0..BATCH).map(|_| nothing.s())).await?;
    }
    Ok(vec![Figure::new("send in bulk", "tasks/s", f64::from(BULK) / began.elapsed().as_secs_f64())])
}
