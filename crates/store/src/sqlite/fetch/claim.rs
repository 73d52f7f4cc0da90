//! Which messages a fetch takes, and what it reads of them.

use bytes::Bytes;
use rusqlite::{OptionalExtension, Row, params};

use crate::sqlite::key::TaskKey;
use crate::sqlite::transaction::Tx;

/// A batch takes no further message once it has this many bytes.
const BATCH_BYTES: usize = 16 << 20;
/// A body up to this size shares its memory with the batch; a larger one would keep too much of it alive.
const SHARED_BODY: usize = 4096;

/// The messages of one fetch as they are stored.
#[derive(Default)]
pub(super) struct Batch {
    pub rows: Vec<Claimed>,
    heads: Vec<u8>,
    bodies: Bytes,
}

/// One message of a batch.
pub(super) struct Claimed {
    pub tag: i64,
    pub queue: i64,
    pub deliveries: i64,
    pub revoked: bool,
    place: (i64, i64),
    head: std::ops::Range<usize>,
    body: Body,
}

enum Body {
    Shared(std::ops::Range<usize>),
    Own(Bytes),
}

impl Batch {
    pub(super) fn head(&self, row: &Claimed) -> &[u8] {
        &self.heads[row.head.clone()]
    }

    pub(super) fn body(&self, row: &Claimed) -> Bytes {
        match &row.body {
            Body::Shared(range) => self.bodies.slice(range.clone()),
            Body::Own(bytes) => bytes.clone(),
        }
    }
}

/// Lends up to `room` messages to a consumer: the highest priorities over all its queues, then the longest waiting.
pub(super) fn take(tx: &mut Tx<'_>, consumer: i64, queues: &[i64], room: usize) -> rusqlite::Result<Batch> {
    if room == 0 {
        return Ok(Batch::default());
    }
    let last_tag = last_tag(tx)?;
    let mut lend = tx.statement(include_str!("../sql/claim_lend.sql"))?;
    let mut lent = 0;
    for (queue, count) in shares(tx, queues, room)? {
        lent += lend.execute(params![consumer, queue, count as i64])?;
    }
    if lent == 0 {
        return Ok(Batch::default());
    }
    let mut batch = read(tx, last_tag, lent)?;
    let taken = batch.rows.len();
    if taken < lent {
        let last = batch.rows.last().map_or(last_tag, |row| row.tag);
        tx.execute(include_str!("../sql/claim_unlend.sql"), [last])?;
    }
    let mut remove = tx.statement(include_str!("../sql/claim_remove.sql"))?;
    for neighbours in batch.rows.chunk_by(|one, next| one.queue == next.queue) {
        if let Some(last) = neighbours.last() {
            remove.execute(params![last.queue, last.place.0, last.place.1])?;
        }
    }
    mark_revoked(tx, &mut batch)?;
    if queues.len() > 1 {
        batch.rows.sort_by_key(|row| row.place);
    }
    Ok(batch)
}

/// How many to take from the head of each queue.
fn shares(tx: &Tx<'_>, queues: &[i64], room: usize) -> rusqlite::Result<Vec<(i64, usize)>> {
    if let [queue] = queues {
        return Ok(vec![(*queue, room)]);
    }
    let mut look = tx.statement(include_str!("../sql/claim_candidates.sql"))?;
    let mut candidates: Vec<(i64, i64, usize)> = Vec::new();
    for (index, queue) in queues.iter().enumerate() {
        let rows =
            look.query_map(params![queue, room as i64], |row| Ok((row.get(0)?, row.get(1)?, index)))?;
        for row in rows {
            candidates.push(row?);
        }
    }
    candidates.sort_unstable();
    candidates.truncate(room);
    let mut shares: Vec<(i64, usize)> = queues.iter().map(|queue| (*queue, 0)).collect();
    for (_, _, index) in candidates {
        shares[index].1 += 1;
    }
    shares.retain(|(_, count)| *count > 0);
    Ok(shares)
}

fn last_tag(tx: &Tx<'_>) -> rusqlite::Result<i64> {
    let last = tx
        .statement(include_str!("../sql/claim_last_tag.sql"))?
        .query_one([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// Reads what was lent after `last_tag`, up to the limit in bytes and at least one.
fn read(tx: &Tx<'_>, last_tag: i64, lent: usize) -> rusqlite::Result<Batch> {
    let mut statement = tx.statement(include_str!("../sql/claim_read.sql"))?;
    let mut found = statement.query([last_tag])?;
    let mut rows = Vec::with_capacity(lent);
    let (mut heads, mut bodies, mut bytes) = (Vec::new(), Vec::new(), 0);
    while bytes < BATCH_BYTES {
        let Some(row) = found.next()? else { break };
        let claimed = claimed(row, &mut heads, &mut bodies)?;
        bytes += claimed.head.len() + claimed.body_length();
        rows.push(claimed);
    }
    Ok(Batch { rows, heads, bodies: bodies.into() })
}

fn claimed(row: &Row<'_>, heads: &mut Vec<u8>, bodies: &mut Vec<u8>) -> rusqlite::Result<Claimed> {
    let start = heads.len();
    heads.extend_from_slice(row.get_ref(4)?.as_blob()?);
    let body = row.get_ref(5)?.as_blob()?;
    let body = if body.len() <= SHARED_BODY {
        let start = bodies.len();
        bodies.extend_from_slice(body);
        Body::Shared(start..bodies.len())
    } else {
        Body::Own(Bytes::copy_from_slice(body))
    };
    Ok(Claimed {
        tag: row.get(0)?,
        place: (row.get(1)?, row.get(2)?),
        queue: row.get(6)?,
        deliveries: row.get(3)?,
        revoked: false,
        head: start..heads.len(),
        body,
    })
}

impl Claimed {
    fn body_length(&self) -> usize {
        match &self.body {
            Body::Shared(range) => range.len(),
            Body::Own(bytes) => bytes.len(),
        }
    }
}

/// Marks what was revoked; one look for the whole batch if nothing is.
fn mark_revoked(tx: &Tx<'_>, batch: &mut Batch) -> rusqlite::Result<()> {
    if !tx.statement(include_str!("../sql/revoked_any.sql"))?.exists([])? {
        return Ok(());
    }
    let mut task = tx.statement(include_str!("../sql/message_task.sql"))?;
    let mut is_revoked = tx.statement(include_str!("../sql/revoked_is.sql"))?;
    for row in &mut batch.rows {
        let key: Option<TaskKey> = task.query_one([row.place.1], |found| found.get(0))?;
        row.revoked = match key {
            Some(key) => is_revoked.exists(params![key, tx.now])?,
            None => false,
        };
    }
    Ok(())
}
