//! What groups are made of, and chords whose messages are elsewhere.

use async_trait::async_trait;
use celeriac_protocol::{GroupId, State, Value, json};
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::chords::{self, Chords};
use super::key::{GroupKey, MemberKey};
use super::reader::statement;
use super::transaction::Tx;
use super::workflow::{Effects, NewGroup, NewPart, NewRun, Publications, new_extensions, save_groups};
use crate::{
    Chord, ChordPart, ChordProgress, Counted, Error, Groups, NewChord, Reported, Result, SavedGroup,
};

/// What a member has reported, as it is stored.
struct StoredPart {
    member: MemberKey,
    state: Option<String>,
    result: Vec<u8>,
}

#[async_trait]
impl Groups for SqliteStore {
    async fn save(&self, groups: Vec<SavedGroup>) -> Result<()> {
        let limit = self.shared.options.message_limit;
        let groups: Vec<NewGroup> =
            groups.iter().map(|group| NewGroup::of(group, limit)).collect::<Result<_>>()?;
        if groups.is_empty() {
            return Ok(());
        }
        self.shared.writer.call("save groups", move |tx| save_groups(tx, &groups)).await
    }

    async fn restore(&self, groups: &[GroupId]) -> Result<Vec<Option<Value>>> {
        let (keys, now) = (group_keys(groups), self.shared.options.clock.now().as_micros());
        let found = self.shared.reader.call("restore groups", move |connection| {
            let mut get = statement(connection, include_str!("sql/group_get.sql"))?;
            let read = |key| get.query_one(params![key, now], |row| row.get(0)).optional();
            keys.iter().map(read).collect::<rusqlite::Result<Vec<Option<Vec<u8>>>>>()
        });
        found.await?.into_iter().map(|found| found.map(|bytes| self.decode(&bytes)).transpose()).collect()
    }

    async fn forget(&self, groups: &[GroupId]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let keys = group_keys(groups);
        let forget = move |tx: &mut Tx<'_>| {
            let mut forget = tx.statement(include_str!("sql/group_forget.sql"))?;
            keys.iter().try_for_each(|key| forget.execute([key]).map(drop))
        };
        self.shared.writer.call("forget groups", forget).await
    }

    async fn begin(&self, chords: Vec<NewChord>) -> Result<()> {
        if chords.is_empty() {
            return Ok(());
        }
        let new: Vec<NewRun> = chords.iter().map(NewRun::of).collect();
        let begin = move |tx: &mut Tx<'_>| {
            let mut chords = Chords::default();
            new.iter().try_for_each(|chord| chords.begin(tx, &chord.id, chord.size, chord.life))?;
            chords.end(tx)
        };
        self.shared.writer.call("begin chords", begin).await
    }

    async fn extend(&self, chords: Vec<(GroupId, u64)>) -> Result<()> {
        if chords.is_empty() {
            return Ok(());
        }
        let extended = new_extensions(&chords);
        let extend = move |tx: &mut Tx<'_>| {
            let mut chords = Chords::default();
            extended.iter().try_for_each(|(chord, by)| chords.extend(tx, chord, *by))?;
            chords.end(tx)
        };
        self.shared.writer.call("extend chords", extend).await
    }

    async fn chord(&self, chord: &GroupId) -> Result<Option<Chord>> {
        let (key, now) = (GroupKey::of(chord), self.shared.options.clock.now().as_micros());
        let found = self.shared.reader.call("read a chord", move |connection| {
            // One look at both, or the chord might be closed between the two.
            let look = connection.unchecked_transaction()?;
            let Some((run, tally)) = chords::open_run(&look, &key, now)? else { return Ok(None) };
            let mut list = statement(&look, include_str!("sql/part_list.sql"))?;
            let parts = list.query_map([run], |row| {
                let member = MemberKey { task: row.get(0)?, place: row.get(1)? };
                Ok(StoredPart { member, state: row.get(2)?, result: row.get(3)? })
            })?;
            let parts: rusqlite::Result<Vec<StoredPart>> = parts.collect();
            Ok(Some((tally.awaited(), parts?)))
        });
        let Some((size, parts)) = found.await? else { return Ok(None) };
        let report = |part: StoredPart| {
            Ok(Reported {
                member: part.member.task.id(),
                index: part.member.index(),
                state: part.state.map_or(State::Success, |state| State::from(&*state)),
                result: self.decode(&part.result)?,
            })
        };
        let mut parts: Vec<Reported> = parts.into_iter().map(report).collect::<Result<_>>()?;
        parts.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        Ok(Some(Chord { size, parts }))
    }

    async fn progress(&self, chord: &GroupId) -> Result<Option<ChordProgress>> {
        let (key, now) = (GroupKey::of(chord), self.shared.options.clock.now().as_micros());
        let find = move |connection: &_| chords::open_run(connection, &key, now);
        let found = self.shared.reader.call("read a chord", find).await?;
        Ok(found.map(|(_, tally)| ChordProgress { size: tally.awaited(), reported: tally.counted }))
    }

    async fn foresee(&self, parts: &[ChordPart]) -> Result<Vec<Counted>> {
        let parts = self.new_parts(parts.to_vec())?;
        let now = self.shared.options.clock.now().as_micros();
        let foresee = move |connection: &_| chords::foresee(connection, &parts, now);
        self.shared.reader.call("read chords", foresee).await
    }

    async fn count(&self, parts: Vec<ChordPart>) -> Result<Vec<Counted>> {
        let parts = self.new_parts(parts)?;
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let count = move |tx: &mut Tx<'_>| {
            let mut effects = Effects::begin(tx)?;
            let count = |part| effects.count(tx, part, Publications::AreElsewhere);
            let counted = parts.iter().map(count).collect::<rusqlite::Result<_>>()?;
            effects.end(tx)?;
            Ok(counted)
        };
        self.shared.writer.call("count members of chords", count).await
    }
}

impl SqliteStore {
    fn new_parts(&self, parts: Vec<ChordPart>) -> Result<Vec<NewPart>> {
        let limit = self.shared.options.message_limit;
        parts.into_iter().map(|part| NewPart::of(part, limit)).collect()
    }

    /// One value that cannot be read is no reason to give up the file.
    fn decode(&self, bytes: &[u8]) -> Result<Value> {
        json::parse(bytes).map_err(|error| Error::Failed {
            url: self.shared.place.url.to_string(),
            reason: format!("what was stored of a group cannot be read ({error})"),
        })
    }
}

fn group_keys(groups: &[GroupId]) -> Vec<GroupKey> {
    groups.iter().map(GroupKey::of).collect()
}
