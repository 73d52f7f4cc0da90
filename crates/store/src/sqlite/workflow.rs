//! Workflows: what is published together, and what the end of a task brings about.

use std::time::Duration;

use celeriac_protocol::{GroupId, State, json};
use rusqlite::params;

use super::chords::Chords;
use super::key::{GroupKey, MemberKey};
use super::publish::{self, NewMessage};
use super::results::{NewResult, ResultInserts};
use super::sweep;
use super::transaction::Tx;
use crate::{ChordPart, Closing, Consequences, Counted, Error, NewChord, Publication, Result, SavedGroup};

/// A publication as it is stored. Made in the task that publishes, so the writer only copies bytes.
pub(super) struct NewPublication {
    pub messages: Vec<NewMessage>,
    pub chords: Vec<NewRun>,
    pub extended: Vec<(GroupKey, u64)>,
    pub groups: Vec<NewGroup>,
}

pub(super) struct NewRun {
    pub id: GroupKey,
    pub size: u64,
    pub life: i64,
}

pub(super) struct NewGroup {
    id: GroupKey,
    life: i64,
    result: Vec<u8>,
}

/// Consequences as they are stored.
pub(super) struct NewConsequences {
    pub publication: NewPublication,
    pub results: Vec<NewResult>,
    pub parts: Vec<NewPart>,
}

pub(super) struct NewPart {
    pub chord: GroupKey,
    pub member: MemberKey,
    /// `None` for a success.
    pub state: Option<Box<str>>,
    pub result: Vec<u8>,
    pub adds: u64,
    pub life: i64,
    /// What it closes its chord with, if it knows.
    pub closing: Option<Box<NewConsequences>>,
}

/// A time to live in microseconds.
fn life(expires_after: Duration) -> i64 {
    i64::try_from(expires_after.as_micros()).unwrap_or(i64::MAX)
}

fn check_size(encoded: Vec<u8>, limit: usize, what: impl FnOnce() -> String) -> Result<Vec<u8>> {
    let size = encoded.len();
    if size > limit { Err(Error::TooLarge { what: what(), size, limit }) } else { Ok(encoded) }
}

impl NewPublication {
    /// Encodes all of it, or says what is too large.
    pub(super) fn of(publication: Publication, limit: usize) -> Result<Self> {
        let Publication { messages, chords, extended, groups } = publication;
        Ok(Self {
            messages: NewMessage::all(messages, limit)?,
            chords: chords.iter().map(NewRun::of).collect(),
            extended: new_extensions(&extended),
            groups: groups.iter().map(|group| NewGroup::of(group, limit)).collect::<Result<_>>()?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.is_only_messages()
    }

    /// Whether there are no chords and groups.
    pub(super) fn is_only_messages(&self) -> bool {
        self.chords.is_empty() && self.extended.is_empty() && self.groups.is_empty()
    }
}

pub(super) fn new_extensions(extended: &[(GroupId, u64)]) -> Vec<(GroupKey, u64)> {
    extended.iter().map(|(chord, by)| (GroupKey::of(chord), *by)).collect()
}

impl NewRun {
    pub(super) fn of(chord: &NewChord) -> Self {
        Self { id: GroupKey::of(&chord.id), size: chord.size, life: life(chord.expires_after) }
    }
}

impl NewGroup {
    pub(super) fn of(group: &SavedGroup, limit: usize) -> Result<Self> {
        let result = check_size(json::to_bytes(&group.result), limit, || format!("group {}", group.id))?;
        Ok(Self { id: GroupKey::of(&group.id), life: life(group.expires_after), result })
    }
}

impl NewConsequences {
    pub(super) fn of(consequences: Consequences, limit: usize) -> Result<Self> {
        let Consequences { publication, results, parts } = consequences;
        Ok(Self {
            publication: NewPublication::of(publication, limit)?,
            results: results
                .into_iter()
                .map(|result| NewResult::of(&result, limit))
                .collect::<Result<_>>()?,
            parts: parts.into_iter().map(|part| NewPart::of(part, limit)).collect::<Result<_>>()?,
        })
    }
}

impl NewPart {
    pub(super) fn of(part: ChordPart, limit: usize) -> Result<Self> {
        let closing = match part.closing {
            Closing::Ask => None,
            Closing::Known(consequences) => Some(Box::new(NewConsequences::of(*consequences, limit)?)),
        };
        Ok(Self {
            chord: GroupKey::of(&part.chord),
            member: MemberKey::of(&part.member, part.index),
            state: (part.state != State::Success).then(|| part.state.as_str().into()),
            result: check_size(json::to_bytes(&part.result), limit, || format!("result of {}", part.member))?,
            adds: part.adds,
            life: life(part.expires_after),
            closing,
        })
    }

    pub(super) fn is_success(&self) -> bool {
        self.state.is_none()
    }
}

/// Whether what closings publish is published here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publications {
    AreHere,
    AreElsewhere,
}

/// What one operation does besides settling.
pub(super) struct Effects<'open> {
    pub results: ResultInserts<'open>,
    pub chords: Chords,
}

impl<'open> Effects<'open> {
    pub(super) fn begin(tx: &Tx<'open>) -> rusqlite::Result<Self> {
        Ok(Self { results: ResultInserts::begin(tx)?, chords: Chords::default() })
    }

    /// Publishes all of it but its messages.
    pub(super) fn prepare(&mut self, tx: &mut Tx<'_>, publication: &NewPublication) -> rusqlite::Result<()> {
        for chord in &publication.chords {
            self.chords.begin(tx, &chord.id, chord.size, chord.life)?;
        }
        for (chord, by) in &publication.extended {
            self.chords.extend(tx, chord, *by)?;
        }
        save_groups(tx, &publication.groups)
    }

    pub(super) fn publish(&mut self, tx: &mut Tx<'_>, publication: &NewPublication) -> rusqlite::Result<()> {
        self.prepare(tx, publication)?;
        publish::insert(tx, &publication.messages)
    }

    pub(super) fn bring_about(
        &mut self,
        tx: &mut Tx<'_>,
        consequences: &NewConsequences,
        publications: Publications,
    ) -> rusqlite::Result<()> {
        let NewConsequences { publication, results, parts } = consequences;
        let is_here = publications == Publications::AreHere;
        if is_here {
            self.prepare(tx, publication)?;
        }
        for result in results {
            self.results.add(tx, result)?;
        }
        if is_here {
            publish::insert(tx, &publication.messages)?;
        }
        for part in parts {
            self.count(tx, part, publications)?;
        }
        Ok(())
    }

    /// Counts a part, with all that it closes.
    pub(super) fn count(
        &mut self,
        tx: &mut Tx<'_>,
        part: &NewPart,
        publications: Publications,
    ) -> rusqlite::Result<Counted> {
        let counted = self.chords.count(tx, part)?;
        if let (true, Some(closing)) = (counted.closes(), &part.closing) {
            self.bring_about(tx, closing, publications)?;
        }
        Ok(counted)
    }

    pub(super) fn end(self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.results.end(tx)?;
        self.chords.end(tx)
    }
}

pub(super) fn save_groups(tx: &Tx<'_>, groups: &[NewGroup]) -> rusqlite::Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    for group in groups {
        let expires_at = tx.now.saturating_add(group.life);
        tx.execute(include_str!("sql/group_save.sql"), params![group.id, expires_at, group.result])?;
    }
    sweep::groups(tx, groups.len() as i64)
}
