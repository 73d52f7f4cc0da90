//! Groups and chords, where Celery's Redis backend keeps them: `lua/groups.lua` says how.

use async_trait::async_trait;
use celeriac_protocol::{GroupId, PartRecord, Value, decode_group};
use redis::cmd;

use super::RedisStore;
use super::consequences::NewPart;
use super::script::{CHORD, COUNT, read};
use crate::{
    Broker, Chord, ChordPart, ChordProgress, Closing, Counted, Groups, NewChord, Publication, Reported,
    Result, SavedGroup,
};

#[async_trait]
impl Groups for RedisStore {
    async fn save(&self, groups: Vec<SavedGroup>) -> Result<()> {
        self.publish(Publication { groups, ..Publication::default() }).await
    }

    async fn restore(&self, groups: &[GroupId]) -> Result<Vec<Option<Value>>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let mut get = cmd("MGET");
        groups.iter().for_each(|group| {
            get.arg(shared.keys.group(group));
        });
        let saved: Vec<Option<Vec<u8>>> =
            read(shared.ask_of_results("read groups", get).await?, &shared.link)?;
        let decode = |bytes: Vec<u8>| {
            decode_group(&bytes)
                .map_err(|error| shared.link.failed(format!("a saved group cannot be read: {error}")))
        };
        saved.into_iter().map(|found| found.map(decode).transpose()).collect()
    }

    async fn forget(&self, groups: &[GroupId]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let mut delete = cmd("DEL");
        groups.iter().for_each(|group| {
            delete.arg(self.shared.keys.group(group));
        });
        self.shared.ask_of_results("forget groups", delete).await?;
        Ok(())
    }

    async fn begin(&self, chords: Vec<NewChord>) -> Result<()> {
        self.publish(Publication { chords, ..Publication::default() }).await
    }

    async fn extend(&self, extended: Vec<(GroupId, u64)>) -> Result<()> {
        self.publish(Publication { extended, ..Publication::default() }).await
    }

    async fn chord(&self, chord: &GroupId) -> Result<Option<Chord>> {
        let shared = &self.shared;
        let mut call = shared.plain_script(&CHORD);
        call.arg(shared.keys.group(chord)).arg(0);
        let found = read(call.run("read a chord", &shared.link).await?, &shared.link)?;
        let Some((size, parts)): Option<(Option<u64>, Vec<(Vec<u8>, String)>)> = found else {
            return Ok(None);
        };
        let reported = |(part, place): (Vec<u8>, String)| match PartRecord::decode(&part) {
            Ok(PartRecord { member, state, result }) => {
                Ok(Reported { member, index: index_of(&place), state, result })
            }
            Err(error) => Err(shared.link.failed(format!("a part of chord {chord} cannot be read: {error}"))),
        };
        Ok(Some(Chord { size, parts: parts.into_iter().map(reported).collect::<Result<_>>()? }))
    }

    async fn progress(&self, chord: &GroupId) -> Result<Option<ChordProgress>> {
        let shared = &self.shared;
        let mut call = shared.plain_script(&CHORD);
        call.arg(shared.keys.group(chord)).arg(1);
        let found: Option<(Option<u64>, u64)> =
            read(call.run("read a chord", &shared.link).await?, &shared.link)?;
        Ok(found.map(|(size, reported)| ChordProgress { size, reported }))
    }

    async fn foresee(&self, parts: &[ChordPart]) -> Result<Vec<Counted>> {
        let parts = parts.iter().map(|part| {
            // What would follow is not asked.
            let closing = match part.closing {
                Closing::Ask => Closing::Ask,
                Closing::Known(_) => Closing::Known(Box::default()),
            };
            NewPart::of(ChordPart { closing, ..part.clone() }, &self.shared)
        });
        self.count_as("foresee", parts.collect::<Result<_>>()?).await
    }

    async fn count(&self, parts: Vec<ChordPart>) -> Result<Vec<Counted>> {
        let parts = parts.into_iter().map(|part| NewPart::without_publications(part, &self.shared));
        self.count_as("count", parts.collect::<Result<_>>()?).await
    }
}

impl RedisStore {
    async fn count_as(&self, how: &str, parts: Vec<NewPart>) -> Result<Vec<Counted>> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let mut call = shared.plain_script(&COUNT);
        call.arg(how).arg(parts.len());
        parts.iter().for_each(|part| part.add_to(&mut call));
        let brought: Vec<String> = read(call.run("count members", &shared.link).await?, &shared.link)?;
        let counted = |brought: String| match &*brought {
            "open" => Counted::Open,
            "last" => Counted::Last,
            "failed" => Counted::Failed,
            _ => Counted::Over,
        };
        Ok(brought.into_iter().map(counted).collect())
    }
}

/// The place of a member, as Redis writes scores; one that is infinite is none.
fn index_of(score: &str) -> Option<i64> {
    let score: f64 = score.parse().ok()?;
    score.is_finite().then_some(score as i64)
}
