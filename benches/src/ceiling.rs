//! What SQLite itself does with the rows of a task queue when no engine is in the way.
//!
//! The same journal mode and durability as the store, one connection, batched transactions: insert a message,
//! claim it (mark it and read it), delete it and, if asked, insert its result. No engine can be faster on the same rows.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

/// Rows per transaction, as a worker with full prefetch batches them.
const BATCH: i64 = 100;

/// About the bytes of a no-op task: its headers, its body and its stored result.
const HEAD: usize = 420;
const BODY: usize = 87;
const RECORD: usize = 160;

/// How long each step took for all rows.
pub(crate) struct Ceiling {
    pub(crate) insert: Duration,
    pub(crate) claim_and_delete: Duration,
}

/// Whether a result is stored for each row that is deleted.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Results {
    None,
    Stored,
}

/// Runs `rows` rows through a fresh file.
pub(crate) fn run(rows: i64, results: Results) -> rusqlite::Result<Ceiling> {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let mut connection = Connection::open(folder.path().join("ceiling.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE message (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
         CREATE INDEX waiting ON message (id) WHERE state = 0;
         CREATE TABLE result (task_id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;",
    )?;
    let started = Instant::now();
    insert(&mut connection, rows)?;
    let insert = started.elapsed();
    let started = Instant::now();
    while claim(&mut connection, results)? > 0 {}
    Ok(Ceiling { insert, claim_and_delete: started.elapsed() })
}

fn insert(connection: &mut Connection, rows: i64) -> rusqlite::Result<()> {
    let (head, body) = ([b'h'; HEAD], [b'b'; BODY]);
    for _ in 0..(rows + BATCH - 1) / BATCH {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut statement =
                transaction.prepare_cached("INSERT INTO message (state, head, body) VALUES (0, ?1, ?2)")?;
            for _ in 0..BATCH {
                statement.execute(params![head, body])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// One batch: claimed in one transaction, deleted with the results stored in the next.
fn claim(connection: &mut Connection, results: Results) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let claimed: Vec<(i64, Vec<u8>, Vec<u8>)> = transaction
        .prepare_cached(
            "UPDATE message SET state = 1
             WHERE id IN (SELECT id FROM message WHERE state = 0 ORDER BY id LIMIT ?1)
             RETURNING id, head, body",
        )?
        .query_map([BATCH], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;

    let record = [b'r'; RECORD];
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut delete = transaction.prepare_cached("DELETE FROM message WHERE id = ?1")?;
        let mut store = transaction.prepare_cached("INSERT INTO result (task_id, record) VALUES (?1, ?2)")?;
        for (id, ..) in &claimed {
            delete.execute([id])?;
            if results == Results::Stored {
                store.execute(params![format!("01890000-0000-7000-8000-{id:012}"), record])?;
            }
        }
    }
    transaction.commit()?;
    Ok(claimed.len())
}
