//! SQLite alone.

use crate::Result;
use crate::ceiling::{self, Results};
use crate::report::Figure;

const ROWS: i64 = 200_000;

pub(crate) fn run() -> Result<Vec<Figure>> {
    let plain = ceiling::run(ROWS, Results::None)?;
    let with_results = ceiling::run(ROWS, Results::Stored)?;
    let rate = |duration: std::time::Duration| ROWS as f64 / duration.as_secs_f64();
    Ok(vec![
        Figure::new("ceiling: insert", "rows/s", rate(plain.insert)),
        Figure::new("ceiling: claim and delete", "rows/s", rate(plain.claim_and_delete)),
        Figure::new(
            "ceiling: insert, claim and delete",
            "rows/s",
            rate(plain.insert + plain.claim_and_delete),
        ),
        Figure::new(
            "ceiling: claim, delete and store a result",
            "rows/s",
            rate(with_results.claim_and_delete),
        ),
    ])
}
