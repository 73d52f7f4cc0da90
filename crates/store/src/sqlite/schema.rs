//! Versions of the schema, and the way from each to the next.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::connection::pause;
use super::failure::Place;
use crate::Error;

/// Says in the header of the file that it is ours: "Cele".
pub(super) const APPLICATION_ID: i64 = 0x4365_6c65;

/// The step from each version to the next; version 0 is an empty file. Never change one that was released.
pub(super) const STEPS: [&str; 6] = [
    include_str!("sql/schema_1.sql"),
    include_str!("sql/schema_2.sql"),
    include_str!("sql/schema_3.sql"),
    include_str!("sql/schema_4.sql"),
    include_str!("sql/schema_5.sql"),
    include_str!("sql/schema_6.sql"),
];

/// The version that this program writes.
const VERSION: u32 = STEPS.len() as u32;

/// What may go wrong: SQLite itself, or what is in the file.
pub(super) enum Trouble {
    Sqlite(rusqlite::Error),
    Content(Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Brings the file to the version of this program, in one transaction.
///
/// Processes that start together on a new file queue up for the write lock; all but the first find the work done.
pub(super) fn migrate(connection: &mut Connection, place: &Place) -> Result<(), Trouble> {
    // Changing the journal mode takes an exclusive lock, so an existing log is left as it is.
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    // One look at all of it, or half of what another process writes now would look like somebody else's file.
    let look = connection.transaction()?;
    let found = check(&look, place)?;
    drop(look);
    if found == VERSION && mode == "wal" {
        return Ok(());
    }
    begin_log(connection, place)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = check(&transaction, place)?;
    for step in &STEPS[found as usize..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Gives the file a write-ahead log.
///
/// While another process does the same, SQLite refuses at once, without waiting for the lock, or answers with the mode
/// that it goes on with instead.
fn begin_log(connection: &Connection, place: &Place) -> Result<(), Trouble> {
    const TRIES: u32 = 200;
    const PAUSE: Duration = Duration::from_millis(5);
    let mut refusal = None;
    for _ in 0..TRIES {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => refusal = Some(Trouble::Content(no_log(place, &mode))),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                refusal = Some(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        pause(PAUSE.mul_f64(0.5 + fastrand::f64()));
    }
    refusal.map_or(Ok(()), Err)
}

fn no_log(place: &Place, mode: &str) -> Error {
    Error::Misconfigured {
        url: place.url.to_string(),
        reason: format!(
            "{path} cannot have a write-ahead log (SQLite stays with journal mode {mode}): \
             put the file on a disk of this machine, not on a network file system",
            path = place.path.display(),
        ),
    }
}

/// The version found, if this program can work with the file.
fn check(connection: &Connection, place: &Place) -> Result<u32, Trouble> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_empty = tables == 0 && found == 0 && application == 0;
    if !is_empty && application != APPLICATION_ID {
        let reason = "it is the database of another program";
        return Err(Trouble::Content(place.corrupt(reason.into())));
    }
    if found > VERSION {
        let url = place.url.to_string();
        return Err(Trouble::Content(Error::NewerVersion { url, found, known: VERSION }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_place_without_a_log_is_refused_by_its_name() {
        // As little as some network file systems, memory has no log.
        let mut connection = Connection::open_in_memory().unwrap();
        let place = Place::new("sqlite:////mnt/tasks.db", Path::new("/mnt/tasks.db"));
        let Err(Trouble::Content(error)) = migrate(&mut connection, &place) else { panic!("refused") };
        assert!(error.to_string().contains("/mnt/tasks.db"), "{error}");
        assert!(matches!(error, Error::Misconfigured { reason, .. } if reason.contains("/mnt/tasks.db")));
    }
}
