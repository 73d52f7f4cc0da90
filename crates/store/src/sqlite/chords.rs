//! Counting chords in a transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::key::{GroupKey, MemberKey};
use super::reader::statement;
use super::sweep;
use super::transaction::Tx;
use super::workflow::{NewConsequences, NewPart};
use crate::Counted;
use crate::tally::{self, Foresight, Tally};

/// A run with no more parts than this loses them when it ends; of larger ones they are swept.
const FEW: u64 = 100;

/// The chords that one operation touches: each is read once and written once.
#[derive(Default)]
pub(super) struct Chords {
    runs: HashMap<GroupKey, Run>,
    /// How many rows were added.
    added: i64,
}

/// One run of a chord.
#[derive(Clone, Copy)]
struct Run {
    number: i64,
    tally: Tally,
    expires_at: i64,
    is_changed: bool,
}

impl Run {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let tally = Tally {
            size: row.get::<_, Option<i64>>(1)?.map(i64::unsigned_abs),
            added: count(2)?,
            counted: count(3)?,
            failed: row.get(4)?,
            closed: row.get(5)?,
        };
        Ok(Self { number: row.get(0)?, tally, expires_at: row.get(6)?, is_changed: false })
    }

    fn write(&self, tx: &Tx<'_>, chord: &GroupKey) -> rusqlite::Result<()> {
        let Tally { size, added, counted, failed, closed } = self.tally;
        let (size, added) = (size.map(bounded), bounded(added));
        let row = params![chord, self.number, size, added, bounded(counted), failed, closed, self.expires_at];
        tx.execute(include_str!("sql/chord_set.sql"), row)?;
        Ok(())
    }

    /// Removes what was reported, now or soon.
    fn end(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        let end = match self.tally.counted {
            0 => return Ok(()),
            1..=FEW => include_str!("sql/part_remove_all.sql"),
            _ => include_str!("sql/run_end.sql"),
        };
        tx.execute(end, [self.number])?;
        Ok(())
    }
}

/// A count as SQLite keeps it.
fn bounded(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A chord as it was committed, expired or not.
fn find(connection: &Connection, chord: &GroupKey) -> rusqlite::Result<Option<Run>> {
    statement(connection, include_str!("sql/chord_get.sql"))?.query_one([chord], Run::read).optional()
}

/// The number and the size of the run of a chord that is open.
pub(super) fn open_run(
    connection: &Connection,
    chord: &GroupKey,
    now: i64,
) -> rusqlite::Result<Option<(i64, Tally)>> {
    let run = find(connection, chord)?.filter(|run| run.expires_at > now && !run.tally.closed);
    Ok(run.map(|run| (run.number, run.tally)))
}

fn has_reported(connection: &Connection, run: i64, member: &MemberKey) -> rusqlite::Result<bool> {
    statement(connection, include_str!("sql/part_any.sql"))?.exists(params![run, member.task, member.place])
}

impl Chords {
    pub(super) fn begin(
        &mut self,
        tx: &mut Tx<'_>,
        chord: &GroupKey,
        size: u64,
        life: i64,
    ) -> rusqlite::Result<()> {
        self.added += 1;
        let expires_at = tx.now.saturating_add(life);
        let run = self.run(tx, chord)?;
        let anew = run.tally.begin(size);
        run.expires_at = expires_at;
        run.is_changed = true;
        if anew {
            // What its last run has left is being removed.
            run.number = tx.number()?;
        }
        Ok(())
    }

    pub(super) fn extend(&mut self, tx: &Tx<'_>, chord: &GroupKey, by: u64) -> rusqlite::Result<()> {
        if let Some(run) = self.known(tx, chord)? {
            run.tally.extend(by);
            run.is_changed = true;
        }
        Ok(())
    }

    /// Counts a part; if it closes its chord and knows with what, that is left to the caller.
    pub(super) fn count(&mut self, tx: &mut Tx<'_>, part: &NewPart) -> rusqlite::Result<Counted> {
        let expires_at = tx.now.saturating_add(part.life);
        let run = self.run(tx, &part.chord)?;
        let counted = run.tally.report(part.is_success(), part.adds, false);
        match counted {
            Counted::Over => return Ok(Counted::Over),
            Counted::Last | Counted::Failed => {
                if has_reported(tx.connection, run.number, &part.member)? {
                    return Ok(Counted::Over);
                }
                if part.closing.is_none() {
                    return Ok(counted);
                }
                run.end(tx)?;
            }
            Counted::Open => {
                let row = params![run.number, part.member.task, part.member.place, part.state, part.result];
                if tx.execute(include_str!("sql/part_add.sql"), row)? == 0 {
                    return Ok(Counted::Over);
                }
            }
        }
        run.tally.count(counted, part.is_success(), part.adds, true);
        run.expires_at = expires_at;
        run.is_changed = true;
        self.added += 1;
        Ok(counted)
    }

    /// Whether a part that does not know its closing would close its chord.
    pub(super) fn completes(
        &mut self,
        tx: &Tx<'_>,
        consequences: &NewConsequences,
    ) -> rusqlite::Result<bool> {
        let NewConsequences { publication, parts, .. } = consequences;
        if parts.iter().all(|part| part.closing.is_some()) {
            return Ok(false);
        }
        if let [part] = &parts[..]
            && publication.chords.is_empty()
            && publication.extended.is_empty()
        {
            let Some(run) = self.known(tx, &part.chord)? else { return Ok(false) };
            let closes = run.tally.report(part.is_success(), part.adds, false).closes();
            return Ok(closes && !has_reported(tx.connection, run.number, &part.member)?);
        }
        let look = Look { connection: tx.connection, now: tx.now, chords: self };
        let mut foresight = Foresight::new(&look);
        for chord in &publication.chords {
            foresight.begin(&chord.id, chord.size)?;
        }
        for (chord, by) in &publication.extended {
            foresight.extend(chord, *by)?;
        }
        for part in parts {
            let closes = part.foresee(&mut foresight)?.closes();
            if closes && part.closing.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes what has changed.
    pub(super) fn end(self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        for (chord, run) in &self.runs {
            if run.is_changed {
                run.write(tx, chord)?;
            }
        }
        sweep::chords(tx, self.added)
    }

    /// The present run of a chord, if it has one.
    fn known(&mut self, tx: &Tx<'_>, chord: &GroupKey) -> rusqlite::Result<Option<&mut Run>> {
        if !self.runs.contains_key(chord) {
            match find(tx.connection, chord)? {
                None => return Ok(None),
                Some(run) if run.expires_at <= tx.now => {
                    run.end(tx)?;
                    return Ok(None);
                }
                Some(run) => self.runs.insert(chord.clone(), run),
            };
        }
        Ok(self.runs.get_mut(chord))
    }

    /// The present run of a chord, or its first.
    fn run(&mut self, tx: &mut Tx<'_>, chord: &GroupKey) -> rusqlite::Result<&mut Run> {
        if self.known(tx, chord)?.is_none() {
            let number = tx.number()?;
            let run = Run { number, tally: Tally::default(), expires_at: i64::MAX, is_changed: false };
            self.runs.insert(chord.clone(), run);
        }
        Ok(self.runs.get_mut(chord).expect("it was put there if it was not there"))
    }
}

/// How chords are: as the operation has left them, else as they were committed.
struct Look<'a> {
    connection: &'a Connection,
    now: i64,
    chords: &'a Chords,
}

impl Look<'_> {
    fn run(&self, chord: &GroupKey) -> rusqlite::Result<Option<Run>> {
        match self.chords.runs.get(chord) {
            Some(run) => Ok(Some(*run)),
            None => Ok(find(self.connection, chord)?.filter(|run| run.expires_at > self.now)),
        }
    }
}

impl tally::Chords<GroupKey, MemberKey> for Look<'_> {
    type Error = rusqlite::Error;

    fn tally(&self, chord: &GroupKey) -> rusqlite::Result<Tally> {
        Ok(self.run(chord)?.map_or(Tally::default(), |run| run.tally))
    }

    fn has_reported(&self, chord: &GroupKey, member: &MemberKey) -> rusqlite::Result<bool> {
        match self.run(chord)? {
            Some(run) => has_reported(self.connection, run.number, member),
            None => Ok(false),
        }
    }
}

/// What counting these parts would bring.
pub(super) fn foresee(
    connection: &Connection,
    parts: &[NewPart],
    now: i64,
) -> rusqlite::Result<Vec<Counted>> {
    let look = Look { connection, now, chords: &Chords::default() };
    let mut foresight = Foresight::new(&look);
    parts.iter().map(|part| part.foresee(&mut foresight)).collect()
}

impl NewPart {
    fn foresee(
        &self,
        foresight: &mut Foresight<'_, Look<'_>, GroupKey, MemberKey>,
    ) -> rusqlite::Result<Counted> {
        foresight.part(&self.chord, &self.member, self.is_success(), self.adds, self.closing.is_some())
    }
}
