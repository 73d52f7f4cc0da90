//! Groups and chords, where Celery's Redis backend keeps them: `lua/groups.lua` says how.

use std::collections::HashSet;

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

/// Parts of a chord read in one step, while the server does nothing else.
const PORTION: usize = 5000;

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
        let Some((size, count, is_ordered)) = self.outline(chord).await? else { return Ok(None) };
        let parts = self.parts(chord, count, is_ordered).await?;
        // They go only with the chord.
        Ok((parts.len() >= count).then_some(Chord { size, parts }))
    }

    async fn progress(&self, chord: &GroupId) -> Result<Option<ChordProgress>> {
        let outline = self.outline(chord).await?;
        Ok(outline.map(|(size, count, _)| ChordProgress { size, reported: count as u64 }))
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
    /// How many members a chord waits for, how many have reported, and whether their places order what these said.
    async fn outline(&self, chord: &GroupId) -> Result<Option<(Option<u64>, usize, bool)>> {
        let shared = &self.shared;
        let mut call = shared.plain_script(&CHORD);
        call.arg(shared.keys.group(chord));
        read(call.run("read a chord", &shared.link).await?, &shared.link)
    }

    /// What the members of a chord have reported, about so many, in portions, so that others are served in between.
    async fn parts(&self, chord: &GroupId, count: usize, is_ordered: bool) -> Result<Vec<Reported>> {
        let shared = &self.shared;
        let mut found: Vec<(Vec<u8>, f64)> = Vec::with_capacity(count);
        // To the end, and not to `count`: who reports meanwhile may move others beyond that.
        loop {
            let first = found.len();
            let mut range = cmd(if is_ordered { "ZRANGE" } else { "LRANGE" });
            range.arg(format!("{}.j", shared.keys.group(chord))).arg(first).arg(first + PORTION - 1);
            if is_ordered {
                range.arg("WITHSCORES");
            }
            let answer = shared.ask_of_results("read a chord", range).await?;
            if is_ordered {
                found.extend(read::<Vec<_>>(answer, &shared.link)?);
            } else {
                let parts: Vec<Vec<u8>> = read(answer, &shared.link)?;
                found.extend(parts.into_iter().map(|part| (part, f64::INFINITY)));
            }
            if found.len() < first + PORTION {
                break;
            }
        }
        if is_ordered && found.len() > count {
            // Those that were moved were found a second time.
            let mut seen = HashSet::with_capacity(found.len());
            found.retain(|(part, _)| seen.insert(part.clone()));
        }
        let reported = |(part, place): (Vec<u8>, f64)| match PartRecord::decode(&part) {
            Ok(PartRecord { member, state, result }) => {
                // One that is infinite is none.
                let index = place.is_finite().then_some(place as i64);
                Ok(Reported { member, index, state, result })
            }
            Err(error) => Err(shared.link.failed(format!("a part of chord {chord} cannot be read: {error}"))),
        };
        found.into_iter().map(reported).collect()
    }

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
