//! How fast a program sends.

use std::time::Instant;

use super::app_at;
use crate::Result;
use crate::place::Place;
use crate::report::Figure;
use crate::tasks::nothing;

const SINGLE: u32 = 10_000;
const BULK: u32 = 300_000;
const BATCH: u32 = 1_000;

/// Each call waits until the store has the one before.
pub(crate) async fn one_by_one(place: &Place) -> Result<Vec<Figure>> {
    let app = app_at(place.url());
    nothing.delay(&app).await?;
    let began = Instant::now();
    for _ in 0..SINGLE {
        nothing.delay(&app).await?;
    }
    Ok(vec![Figure::new("send one by one", "tasks/s", f64::from(SINGLE) / began.elapsed().as_secs_f64())])
}

/// A thousand calls in each round trip.
pub(crate) async fn in_bulk(place: &Place) -> Result<Vec<Figure>> {
    let app = app_at(place.url());
    nothing.delay(&app).await?;
    let began = Instant::now();
    for _ in 0..BULK / BATCH {
        app.send_many((0..BATCH).map(|_| nothing.s())).await?;
    }
    Ok(vec![Figure::new("send in bulk", "tasks/s", f64::from(BULK) / began.elapsed().as_secs_f64())])
}
