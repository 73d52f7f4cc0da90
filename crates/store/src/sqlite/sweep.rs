//! Removing what has expired, a bounded step at a time.
//!
//! Readers pass over what has expired, so it does not matter when it goes. Steps ride on transactions that
//! happen anyway: whoever stores results or renews a lease does one. Storing removes twice as much as it adds, so that
//! the file does not grow for as long as the load lasts.

use rusqlite::{OptionalExtension, params};

use super::transaction::Tx;

/// Rows looked at in one step, at the least.
const STEP: i64 = 500;
/// What members reported, removed in one step: rows next to each other.
const PARTS_STEP: i64 = 4 * STEP;
/// Results are remembered by the minute of their expiry.
const MINUTE: i64 = 60_000_000;

/// The minute in which a moment lies.
pub(super) fn minute(moment: i64) -> i64 {
    moment.div_euclid(MINUTE)
}

/// Removes some of what has expired.
pub(super) fn step(tx: &Tx<'_>) -> rusqlite::Result<()> {
    results(tx, 0)?;
    tx.execute(include_str!("sql/sweep_revoked.sql"), params![tx.now, STEP])?;
    tx.execute(include_str!("sql/sweep_workers.sql"), [tx.now])?;
    changes(tx)?;
    listeners(tx)?;
    broadcasts(tx, 0)?;
    groups(tx, 0)?;
    chords(tx, 0)?;
    parts(tx, PARTS_STEP)
}

/// Removes the changes of workers that have expired, so that they do not come back with what is kept next.
pub(super) fn changes(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.execute(include_str!("sql/sweep_changes.sql"), [tx.now])?;
    tx.execute(include_str!("sql/sweep_change_nodes.sql"), [tx.now])?;
    Ok(())
}

/// Removes those whose lease to listen has ended.
pub(super) fn listeners(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.execute(include_str!("sql/sweep_listeners.sql"), [tx.now])?;
    Ok(())
}

/// Removes some of the broadcasts that have expired, where so many were `added`; only a few of them if any were.
pub(super) fn broadcasts(tx: &Tx<'_>, added: i64) -> rusqlite::Result<()> {
    let step = if added > 0 { 2 * added } else { STEP };
    tx.execute(include_str!("sql/sweep_broadcasts.sql"), params![tx.now, step])?;
    Ok(())
}

/// Removes some of the groups that have expired, where so many were `added`.
pub(super) fn groups(tx: &Tx<'_>, added: i64) -> rusqlite::Result<()> {
    tx.execute(include_str!("sql/sweep_groups.sql"), params![tx.now, STEP.max(2 * added)])?;
    Ok(())
}

/// Removes some of the chords that have expired and of the parts that nobody waits for, where so many were `added`.
pub(super) fn chords(tx: &Tx<'_>, added: i64) -> rusqlite::Result<()> {
    let step = STEP.max(2 * added);
    tx.execute(include_str!("sql/sweep_chord_runs.sql"), params![tx.now, step])?;
    tx.execute(include_str!("sql/sweep_chords.sql"), params![tx.now, step])?;
    parts(tx, 2 * added)
}

/// Removes about this many parts of runs that have ended.
fn parts(tx: &Tx<'_>, step: i64) -> rusqlite::Result<()> {
    let mut left = step;
    while left > 0 {
        let run: Option<i64> =
            tx.statement(include_str!("sql/sweep_run.sql"))?.query_one([], |row| row.get(0)).optional()?;
        let Some(run) = run else { return Ok(()) };
        let removed = tx.execute(include_str!("sql/sweep_parts.sql"), params![run, left])? as i64;
        if removed < left {
            tx.execute(include_str!("sql/sweep_run_done.sql"), [run])?;
        }
        left -= removed + 1;
    }
    Ok(())
}

/// Removes some of the results that have expired, where so many were `added`.
pub(super) fn results(tx: &Tx<'_>, added: i64) -> rusqlite::Result<()> {
    let range: Option<(i64, i64, i64)> = tx
        .statement(include_str!("sql/sweep_minute.sql"))?
        .query_one([minute(tx.now)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((minute, first, last)) = range else { return Ok(()) };
    let end: Option<i64> = tx
        .statement(include_str!("sql/sweep_step_end.sql"))?
        .query_one(params![first, last, STEP.max(2 * added)], |row| row.get(0))?;
    let end = end.unwrap_or(last);
    tx.execute(include_str!("sql/sweep_results.sql"), params![first, end, tx.now])?;
    if end >= last {
        tx.execute(include_str!("sql/sweep_done.sql"), [minute])?;
    } else {
        tx.execute(include_str!("sql/sweep_advance.sql"), params![minute, end + 1])?;
    }
    Ok(())
}
