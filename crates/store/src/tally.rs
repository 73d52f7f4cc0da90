//! How far a chord is: what the embedded stores decide alike. Pure.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::Counted;

/// The count of one chord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many members it began with, once somebody has said.
    pub size: Option<u64>,
    /// How many it was extended by.
    pub added: u64,
    /// How many have reported.
    pub counted: u64,
    /// Whether one of these failed, before the chord had a size.
    pub failed: bool,
    pub closed: bool,
}

impl Tally {
    /// Begins, or begins anew if it is closed. Says whether it began anew: then what was reported counts no more.
    pub(crate) fn begin(&mut self, size: u64) -> bool {
        let anew = self.closed;
        if anew {
            *self = Self::default();
        }
        self.size = Some(size);
        anew
    }

    pub(crate) fn extend(&mut self, by: u64) {
        if !self.closed {
            self.added = self.added.saturating_add(by);
        }
    }

    /// How many members it waits for, those that reported included.
    pub(crate) fn awaited(&self) -> Option<u64> {
        self.size.map(|size| size.saturating_add(self.added))
    }

    /// What the report of a member brings that adds this many.
    pub(crate) fn report(&self, is_success: bool, adds: u64, has_reported: bool) -> Counted {
        if self.closed || has_reported {
            return Counted::Over;
        }
        match self.awaited() {
            None => Counted::Open,
            Some(_) if self.failed || !is_success => Counted::Failed,
            Some(awaited) if self.counted + 1 >= awaited.saturating_add(adds) => Counted::Last,
            Some(_) => Counted::Open,
        }
    }

    /// Counts that report; `knows` says whether it closes what it may close.
    pub(crate) fn count(&mut self, counted: Counted, is_success: bool, adds: u64, knows: bool) {
        match counted {
            Counted::Open => {
                self.counted += 1;
                self.extend(adds);
                self.failed |= !is_success;
            }
            Counted::Last | Counted::Failed if knows => self.closed = true,
            Counted::Last | Counted::Failed | Counted::Over => {}
        }
    }
}

/// Where a [`Foresight`] finds how things are.
pub(crate) trait Chords<Chord, Member> {
    type Error;

    fn tally(&self, chord: &Chord) -> Result<Tally, Self::Error>;

    /// Whether this member counts already in the present run of the chord.
    fn has_reported(&self, chord: &Chord, member: &Member) -> Result<bool, Self::Error>;
}

/// What would become of chords, step by step; nothing is changed.
pub(crate) struct Foresight<'a, Source, Chord, Member> {
    source: &'a Source,
    chords: HashMap<Chord, Foreseen<Member>>,
}

struct Foreseen<Member> {
    tally: Tally,
    /// Whether it would have begun anew by now.
    anew: bool,
    reported: HashSet<Member>,
}

impl<'a, Source, Chord, Member> Foresight<'a, Source, Chord, Member>
where
    Source: Chords<Chord, Member>,
    Chord: Clone + Eq + Hash,
    Member: Clone + Eq + Hash,
{
    pub(crate) fn new(source: &'a Source) -> Self {
        Self { source, chords: HashMap::new() }
    }

    pub(crate) fn begin(&mut self, chord: &Chord, size: u64) -> Result<(), Source::Error> {
        let foreseen = self.chord(chord)?;
        if foreseen.tally.begin(size) {
            foreseen.anew = true;
            foreseen.reported.clear();
        }
        Ok(())
    }

    pub(crate) fn extend(&mut self, chord: &Chord, by: u64) -> Result<(), Source::Error> {
        self.chord(chord)?.tally.extend(by);
        Ok(())
    }

    /// What counting this part would bring; `knows` says whether it knows its closing.
    pub(crate) fn part(
        &mut self,
        chord: &Chord,
        member: &Member,
        is_success: bool,
        adds: u64,
        knows: bool,
    ) -> Result<Counted, Source::Error> {
        let source = self.source;
        let foreseen = self.chord(chord)?;
        let has_reported = foreseen.reported.contains(member)
            || (!foreseen.tally.closed && !foreseen.anew && source.has_reported(chord, member)?);
        let counted = foreseen.tally.report(is_success, adds, has_reported);
        foreseen.tally.count(counted, is_success, adds, knows);
        if counted == Counted::Open {
            foreseen.reported.insert(member.clone());
        }
        Ok(counted)
    }

    fn chord(&mut self, chord: &Chord) -> Result<&mut Foreseen<Member>, Source::Error> {
        if !self.chords.contains_key(chord) {
            let tally = self.source.tally(chord)?;
            let foreseen = Foreseen { tally, anew: false, reported: HashSet::new() };
            self.chords.insert(chord.clone(), foreseen);
        }
        Ok(self.chords.get_mut(chord).expect("it was put there if it was not there"))
    }
}
