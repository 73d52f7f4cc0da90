//! What groups are made of, and the chords that wait for them.

use std::collections::HashMap;
use std::convert::Infallible;

use async_trait::async_trait;
use celeriac_protocol::{GroupId, State as TaskState, TaskId, Timestamp, Value, json};

use super::MemoryStore;
use super::state::State;
use crate::tally::{self, Foresight, Tally};
use crate::{
    Chord, ChordPart, ChordProgress, Closing, Consequences, Counted, Groups, NewChord, Publication, Reported,
    Result, SavedGroup,
};

/// One run of a chord.
#[derive(Debug, Default)]
pub(super) struct Run {
    tally: Tally,
    parts: HashMap<Member, Reported>,
}

/// A member of a chord: its task, and its place. One task may stand at several.
type Member = (TaskId, Option<i64>);

#[async_trait]
impl Groups for MemoryStore {
    async fn save(&self, groups: Vec<SavedGroup>) -> Result<()> {
        self.check_groups(&groups)?;
        self.change(|state, now| groups.into_iter().for_each(|group| state.save_group(group, now)));
        Ok(())
    }

    async fn restore(&self, groups: &[GroupId]) -> Result<Vec<Option<Value>>> {
        Ok(self.read(|state| groups.iter().map(|group| state.groups.get(group).cloned()).collect()))
    }

    async fn forget(&self, groups: &[GroupId]) -> Result<()> {
        self.change(|state, _| groups.iter().for_each(|group| state.groups.remove(group)));
        Ok(())
    }

    async fn begin(&self, chords: Vec<NewChord>) -> Result<()> {
        self.change(|state, now| chords.into_iter().for_each(|chord| state.begin(chord, now)));
        Ok(())
    }

    async fn extend(&self, chords: Vec<(GroupId, u64)>) -> Result<()> {
        self.change(|state, _| chords.iter().for_each(|(chord, by)| state.extend(chord, *by)));
        Ok(())
    }

    async fn chord(&self, chord: &GroupId) -> Result<Option<Chord>> {
        Ok(self.read(|state| {
            let run = state.chords.get(chord).filter(|run| !run.tally.closed)?;
            let mut parts: Vec<Reported> = run.parts.values().cloned().collect();
            parts.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
            Some(Chord { size: run.tally.awaited(), parts })
        }))
    }

    async fn progress(&self, chord: &GroupId) -> Result<Option<ChordProgress>> {
        Ok(self.read(|state| {
            let tally = state.chords.get(chord).map(|run| run.tally).filter(|tally| !tally.closed)?;
            Some(ChordProgress { size: tally.awaited(), reported: tally.counted })
        }))
    }

    async fn foresee(&self, parts: &[ChordPart]) -> Result<Vec<Counted>> {
        Ok(self.read(|state| {
            let mut foresight = Foresight::new(state);
            parts.iter().map(|part| foresee(&mut foresight, part)).collect()
        }))
    }

    async fn count(&self, parts: Vec<ChordPart>) -> Result<Vec<Counted>> {
        parts.iter().try_for_each(|part| self.check_part(part))?;
        Ok(self.change(|state, now| {
            parts.into_iter().map(|part| state.count(part, Publications::AreElsewhere, now)).collect()
        }))
    }
}

/// Whether what closings publish is published here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publications {
    AreHere,
    AreElsewhere,
}

impl State {
    /// Publishes all of it.
    pub(super) fn publish(&mut self, publication: Publication, now: Timestamp) {
        let Publication { messages, chords, extended, groups } = publication;
        chords.into_iter().for_each(|chord| self.begin(chord, now));
        extended.iter().for_each(|(chord, by)| self.extend(chord, *by));
        groups.into_iter().for_each(|group| self.save_group(group, now));
        messages.into_iter().for_each(|message| self.queues.publish(message, now));
    }

    fn save_group(&mut self, group: SavedGroup, now: Timestamp) {
        let SavedGroup { id, result, expires_after } = group;
        self.groups.insert(id, result, now.saturating_add(expires_after));
    }

    fn begin(&mut self, chord: NewChord, now: Timestamp) {
        let NewChord { id, size, expires_after } = chord;
        let run = self.run(&id, now.saturating_add(expires_after));
        if run.tally.begin(size) {
            run.parts.clear();
        }
    }

    fn extend(&mut self, chord: &GroupId, by: u64) {
        if let Some(run) = self.chords.get_mut(chord) {
            run.tally.extend(by);
        }
    }

    /// The present run of a chord, which is kept until then.
    fn run(&mut self, chord: &GroupId, until: Timestamp) -> &mut Run {
        if !self.chords.contains(chord) {
            self.chords.insert(chord.clone(), Run::default(), until);
        }
        self.chords.keep(chord, until).expect("it was put there if it was not there")
    }

    /// Counts a part, with all that it closes.
    pub(super) fn count(&mut self, part: ChordPart, publications: Publications, now: Timestamp) -> Counted {
        let by = member_of(&part);
        let ChordPart { chord, member, index, state, result, adds, expires_after, closing } = part;
        let until = now.saturating_add(expires_after);
        let tally = self.chords.get(&chord).map_or(Tally::default(), |run| run.tally);
        let has_reported = self.chords.get(&chord).is_some_and(|run| run.parts.contains_key(&by));
        let is_success = state == TaskState::Success;
        let counted = tally.report(is_success, adds, has_reported);
        if counted == Counted::Over || (counted.closes() && matches!(closing, Closing::Ask)) {
            return counted;
        }
        let run = self.run(&chord, until);
        run.tally.count(counted, is_success, adds, true);
        match closing {
            Closing::Known(consequences) if counted.closes() => {
                run.parts.clear();
                self.bring_about(*consequences, publications, now);
            }
            _ => drop(run.parts.insert(by, Reported { member, index, state, result })),
        }
        counted
    }

    /// Does what the end of a task brings about.
    pub(super) fn bring_about(
        &mut self,
        consequences: Consequences,
        publications: Publications,
        now: Timestamp,
    ) {
        let Consequences { mut publication, results, parts } = consequences;
        let messages = std::mem::take(&mut publication.messages);
        if publications == Publications::AreHere {
            self.publish(publication, now);
        }
        results.into_iter().for_each(|result| self.store_result(result, now));
        if publications == Publications::AreHere {
            self.publish(messages.into(), now);
        }
        for part in parts {
            self.count(part, publications, now);
        }
    }

    /// Whether a part that does not know its closing would close its chord.
    pub(super) fn completes(&self, consequences: &Consequences) -> bool {
        let Consequences { publication, parts, .. } = consequences;
        if parts.iter().all(|part| matches!(part.closing, Closing::Known(_))) {
            return false;
        }
        let mut foresight = Foresight::new(self);
        let Ok(()) = publication.chords.iter().try_for_each(|chord| foresight.begin(&chord.id, chord.size));
        let Ok(()) = publication.extended.iter().try_for_each(|(chord, by)| foresight.extend(chord, *by));
        parts
            .iter()
            .any(|part| foresee(&mut foresight, part).closes() && matches!(part.closing, Closing::Ask))
    }
}

fn member_of(part: &ChordPart) -> Member {
    (part.member.clone(), part.index)
}

type MemoryForesight<'a> = Foresight<'a, State, GroupId, Member>;

fn foresee(foresight: &mut MemoryForesight<'_>, part: &ChordPart) -> Counted {
    let knows = matches!(part.closing, Closing::Known(_));
    let Ok(counted) =
        foresight.part(&part.chord, &member_of(part), part.state == TaskState::Success, part.adds, knows);
    counted
}

impl tally::Chords<GroupId, Member> for State {
    type Error = Infallible;

    fn tally(&self, chord: &GroupId) -> std::result::Result<Tally, Infallible> {
        Ok(self.chords.get(chord).map_or(Tally::default(), |run| run.tally))
    }

    fn has_reported(&self, chord: &GroupId, member: &Member) -> std::result::Result<bool, Infallible> {
        Ok(self.chords.get(chord).is_some_and(|run| run.parts.contains_key(member)))
    }
}

impl MemoryStore {
    pub(super) fn check_publication(&self, publication: &Publication) -> Result<()> {
        self.check_groups(&publication.groups)?;
        self.check_messages(&publication.messages)
    }

    pub(super) fn check_consequences(&self, consequences: &Consequences) -> Result<()> {
        self.check_publication(&consequences.publication)?;
        consequences.results.iter().try_for_each(|result| self.check_result(result))?;
        consequences.parts.iter().try_for_each(|part| self.check_part(part))
    }

    fn check_part(&self, part: &ChordPart) -> Result<()> {
        self.check_size(json::to_bytes(&part.result).len(), || format!("result of {}", part.member))?;
        match &part.closing {
            Closing::Ask => Ok(()),
            Closing::Known(consequences) => self.check_consequences(consequences),
        }
    }

    fn check_groups(&self, groups: &[SavedGroup]) -> Result<()> {
        groups.iter().try_for_each(|group| {
            self.check_size(json::to_bytes(&group.result).len(), || format!("group {}", group.id))
        })
    }
}
