//! What the end of a task brings about, as the scripts take it: `lua/groups.lua` and `lua/chords.lua`.

use celeriac_protocol::{GroupId, PartRecord, State, encode_group};

use redis::{Cmd, cmd};

use super::Shared;
use super::publish::NewMessage;
use super::results::{Life, NewResult, add_life, life};
use super::script::Arguments;
use crate::{ChordPart, Closing, Consequences, Error, NewChord, Publication, Result, SavedGroup};

/// What begins with messages, or without any.
#[derive(Default)]
pub(super) struct NewGroups {
    chords: Vec<(String, NewChord)>,
    extended: Vec<(String, u64)>,
    saved: Vec<Saved>,
}

struct Saved {
    key: String,
    record: Vec<u8>,
    life: Life,
}

impl NewGroups {
    pub(super) fn of(publication: &mut Publication, shared: &Shared) -> Result<Self> {
        let key = |group: &GroupId| shared.keys.group(group);
        let chords = std::mem::take(&mut publication.chords);
        let extended = std::mem::take(&mut publication.extended);
        let saved = std::mem::take(&mut publication.groups);
        Ok(Self {
            chords: chords.into_iter().map(|chord| (key(&chord.id), chord)).collect(),
            extended: extended.iter().map(|(chord, by)| (key(chord), *by)).collect(),
            saved: saved.iter().map(|group| Saved::of(group, shared)).collect::<Result<_>>()?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chords.is_empty() && self.extended.is_empty() && self.saved.is_empty()
    }

    /// A command that does this alone, which may stand in a transaction: it needs no script to be there.
    pub(super) fn command(&self) -> Cmd {
        let mut eval = cmd("EVAL");
        eval.arg(concat!(include_str!("lua/groups.lua"), "return begin(0)")).arg(0);
        self.add_to(&mut eval);
        eval
    }

    /// How many arguments [`NewGroups::add_to`] adds.
    fn arguments(&self) -> usize {
        3 + 3 * self.chords.len() + 2 * self.extended.len() + 3 * self.saved.len()
    }

    /// Adds what `begin` takes.
    pub(super) fn add_to(&self, call: &mut impl Arguments) {
        call.arg(self.chords.len());
        for (key, chord) in &self.chords {
            add_life(life(chord.expires_after), call.arg(key).arg(chord.size));
        }
        call.arg(self.extended.len());
        for (key, by) in &self.extended {
            call.arg(key).arg(by);
        }
        call.arg(self.saved.len());
        for Saved { key, record, life } in &self.saved {
            add_life(*life, call.arg(key).arg(&record[..]));
        }
    }
}

impl Saved {
    fn of(group: &SavedGroup, shared: &Shared) -> Result<Self> {
        let record = encode_group(&group.result);
        fits(record.len(), shared, || format!("group {}", group.id))?;
        Ok(Self { key: shared.keys.group(&group.id), record, life: life(group.expires_after) })
    }
}

/// Refuses what is larger than the store takes.
fn fits(size: usize, shared: &Shared, what: impl FnOnce() -> String) -> Result<()> {
    let limit = shared.options.message_limit;
    if size > limit { Err(Error::TooLarge { what: what(), size, limit }) } else { Ok(()) }
}

/// All that follows from one ending.
pub(super) struct NewConsequences {
    groups: NewGroups,
    results: Vec<NewResult>,
    messages: Vec<NewMessage>,
    parts: Vec<NewPart>,
}

impl NewConsequences {
    pub(super) fn of(consequences: Consequences, shared: &Shared) -> Result<Self> {
        let Consequences { mut publication, results, parts } = consequences;
        Ok(Self {
            groups: NewGroups::of(&mut publication, shared)?,
            results: results
                .into_iter()
                .map(|result| NewResult::of(result, shared))
                .collect::<Result<_>>()?,
            messages: NewMessage::all(publication.messages, shared)?,
            parts: parts.into_iter().map(|part| NewPart::of(part, shared)).collect::<Result<_>>()?,
        })
    }

    /// What a chord is told, if that is all and it is the plain success of a member.
    pub(super) fn told(&self) -> Option<&NewPart> {
        let [part] = &self.parts[..] else { return None };
        let plain = !part.fails && part.adds == 0 && part.closing.is_none();
        let alone = self.groups.is_empty() && self.results.is_empty() && self.messages.is_empty();
        (plain && alone).then_some(part)
    }

    /// The lists that something of this may go to.
    pub(super) fn lists(&self) -> Vec<&str> {
        let closings = self.parts.iter().filter_map(|part| part.closing.as_ref());
        self.messages.iter().map(NewMessage::list).chain(closings.flat_map(Self::lists)).collect()
    }

    /// How many arguments [`NewConsequences::add_to`] adds.
    pub(super) fn arguments(&self) -> usize {
        let parts = self.parts.iter().map(NewPart::arguments).sum::<usize>();
        self.groups.arguments() + 3 + 4 * self.results.len() + 4 * self.messages.len() + parts
    }

    /// Adds what `apply` takes.
    pub(super) fn add_to(&self, call: &mut impl Arguments) {
        self.groups.add_to(call);
        call.arg(self.results.len());
        self.results.iter().for_each(|result| result.add_to(call));
        call.arg(self.messages.len());
        self.messages.iter().for_each(|message| message.add_to(call));
        call.arg(self.parts.len());
        self.parts.iter().for_each(|part| part.add_to(call));
    }
}

/// What one member reports.
pub(super) struct NewPart {
    chord: String,
    /// The member and its place, as Celery notes who has reported.
    member: String,
    is_ordered: bool,
    fails: bool,
    record: Vec<u8>,
    adds: u64,
    life: Life,
    /// What happens if it closes the chord, as far as that is known.
    closing: Option<NewConsequences>,
}

impl NewPart {
    pub(super) fn of(part: ChordPart, shared: &Shared) -> Result<Self> {
        let ChordPart { chord, member, index, state, result, adds, expires_after, closing } = part;
        let fails = state != State::Success;
        // A member without a place comes behind all others.
        let place = index.map_or_else(|| "+inf".to_owned(), |index| index.to_string());
        let noted = format!("{member}:{place}");
        let record = PartRecord { member, state, result }.encode();
        fits(record.len(), shared, || format!("result of {noted} in chord {chord}"))?;
        let closing = match closing {
            Closing::Ask => None,
            Closing::Known(consequences) => Some(NewConsequences::of(*consequences, shared)?),
        };
        let (chord, is_ordered) = (shared.keys.group(&chord), shared.options.redis.result_chord_ordered);
        Ok(Self { chord, member: noted, is_ordered, fails, record, adds, life: life(expires_after), closing })
    }

    /// As [`NewPart::of`], without what its closings publish: the caller has published it elsewhere.
    pub(super) fn without_publications(mut part: ChordPart, shared: &Shared) -> Result<Self> {
        leave_publications(&mut part);
        Self::of(part, shared)
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    /// Adds what is told of a plain success.
    pub(super) fn add_told_to(&self, call: &mut impl Arguments) {
        call.arg(&self.chord).arg(&self.member).arg(&self.record[..]);
    }

    fn arguments(&self) -> usize {
        8 + self.closing.as_ref().map_or(0, NewConsequences::arguments)
    }

    /// Adds what `count` takes.
    pub(super) fn add_to(&self, call: &mut impl Arguments) {
        let flag = |flag| if flag { "1" } else { "" };
        call.arg(&self.chord).arg(&self.member).arg(flag(self.is_ordered)).arg(flag(self.fails));
        add_life(self.life, call.arg(&self.record[..]).arg(self.adds));
        match &self.closing {
            None => {
                call.arg("");
            }
            Some(consequences) => {
                call.arg(consequences.arguments());
                consequences.add_to(call);
            }
        }
    }
}

fn leave_publications(part: &mut ChordPart) {
    if let Closing::Known(consequences) = &mut part.closing {
        consequences.publication = Publication::default();
        consequences.parts.iter_mut().for_each(leave_publications);
    }
}
