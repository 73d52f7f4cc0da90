//! Groups of tasks: what they are made of, and the chords that wait for all of them.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{GroupId, State, TaskId, Value};

use crate::{Publish, Result, StoreResult};

/// Keeps what groups are made of, and counts the members of chords.
///
/// A chord is a group, its header, with a body that is sent when every member of the header has succeeded, or fails
/// when one of them has failed. Its count lives here from before its header is published until its body is sent.
///
/// Each member counts once, however often it is delivered: what it reports first stays. One task may be several members,
/// at several places. A chord is closed by the first failure among its members or by the last success; what its members
/// report after that changes nothing.
///
/// Members may report before their chord begins: Celery's producers say its size just before they send its last task.
/// Without a size nothing closes it, and of a failure among these the next report that finds a size is told.
///
/// A chord is kept for as long as it was last told, when it began or when a member reported, and is remembered as closed
/// for as long. After that, nothing of it is left.
#[async_trait]
pub trait Groups: Send + Sync {
    /// Keeps what these groups are made of, so that others find their results. Replaces what was kept of them.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] names the first group over the limit; then nothing was saved.
    async fn save(&self, groups: Vec<SavedGroup>) -> Result<()>;

    /// What these groups are made of, in the same order; `None` where nothing was saved, or it has expired.
    async fn restore(&self, groups: &[GroupId]) -> Result<Vec<Option<Value>>>;

    /// Forgets what these groups are made of; those that were never saved are passed over. Chords count on.
    async fn forget(&self, groups: &[GroupId]) -> Result<()>;

    /// Begins chords whose headers are published elsewhere; to be called before that.
    ///
    /// A chord that exists keeps the members it has counted, and waits for this many now; what it was extended by
    /// stays. One that is closed begins anew: it is a new run of the same composition.
    async fn begin(&self, chords: Vec<NewChord>) -> Result<()>;

    /// Lets chords wait for this many members more: tasks that are added to a chord by one that reports nothing to it yet.
    ///
    /// Nothing happens to a chord that is closed, or that is not known. Doing it again extends them again; what a member
    /// [adds](ChordPart::adds) with its report is added once.
    async fn extend(&self, chords: Vec<(GroupId, u64)>) -> Result<()>;

    /// What a chord waits for; `None` if it is closed, or was never begun and no member has reported.
    async fn chord(&self, chord: &GroupId) -> Result<Option<Chord>>;

    /// How far a chord is, without what its members returned; `None` as [`Groups::chord`].
    async fn progress(&self, chord: &GroupId) -> Result<Option<ChordProgress>> {
        let chord = self.chord(chord).await?;
        Ok(chord.map(|chord| ChordProgress { size: chord.size, reported: chord.parts.len() as u64 }))
    }

    /// What counting these parts would bring, in order; nothing is counted.
    ///
    /// For stores whose messages are elsewhere: what a part brings is published there before it is counted.
    async fn foresee(&self, parts: &[ChordPart]) -> Result<Vec<Counted>>;

    /// Counts parts, in order: one answer for each. What closes a chord stores its results and counts its parts, too.
    ///
    /// The publications of closings are left alone: messages are elsewhere, and the caller has published them before.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] names the first result over the limit; then nothing was counted.
    async fn count(&self, parts: Vec<ChordPart>) -> Result<Vec<Counted>>;
}

/// What a group is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedGroup {
    /// The group.
    pub id: GroupId,
    /// Its result as Celery's nested tuples: `[[id, parent], [result, ...]]`.
    pub result: Value,
    /// How long it is kept from now.
    pub expires_after: Duration,
}

/// A chord that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChord {
    /// The group that is its header.
    pub id: GroupId,
    /// How many members it waits for.
    pub size: u64,
    /// How long it is kept after it began.
    pub expires_after: Duration,
}

/// What one member reports to its chord.
#[derive(Clone, Debug)]
pub struct ChordPart {
    /// The chord.
    pub chord: GroupId,
    /// The member.
    pub member: TaskId,
    /// Its place among the members: the results come in this order, those without a place last.
    pub index: Option<i64>,
    /// How it ended: a success, or what closes the chord.
    pub state: State,
    /// What it returned, or the exception.
    pub result: Value,
    /// How many members it adds to its chord, which waits for them, too, if this part counts. Their messages come with it.
    pub adds: u64,
    /// How long the count is kept after this report.
    pub expires_after: Duration,
    /// What happens if this part closes the chord.
    pub closing: Closing,
}

/// What happens if a part closes its chord.
#[derive(Clone, Debug)]
pub enum Closing {
    /// Not known yet. A part that would close its chord is not counted then, and nothing is done of what comes with it:
    /// the answer is [`crate::Settled::Completes`], and the caller, who now reads what the others returned, comes
    /// again with the message of the body.
    Ask,
    /// This, in the same step. If the part does not close its chord, it does not happen.
    ///
    /// It may hold parts of outer chords, and these know their own closings.
    Known(Box<Consequences>),
}

/// What the end of a task brings about besides its own result: the rest of its workflow.
///
/// Done in this order: chords begin, then chords are extended, groups are saved, results are stored, messages
/// published, parts counted, and with each part what it closes.
#[derive(Clone, Debug, Default)]
pub struct Consequences {
    /// Messages, and the chords and groups they belong to.
    pub publication: Publication,
    /// Results of other tasks: those that will never run.
    pub results: Vec<StoreResult>,
    /// What this means for chords.
    pub parts: Vec<ChordPart>,
}

/// Messages to publish, with the chords that they are the header of, or additions to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publication {
    /// The messages.
    pub messages: Vec<Publish>,
    /// Chords that begin with them.
    pub chords: Vec<NewChord>,
    /// Chords that exist and wait for this many members more, which are among the messages: as [`Groups::extend`], in
    /// one step with them.
    pub extended: Vec<(GroupId, u64)>,
    /// Groups to remember.
    pub groups: Vec<SavedGroup>,
}

impl Publication {
    /// Adds all that another one holds.
    pub fn append(&mut self, other: Self) {
        let Self { messages, chords, extended, groups } = other;
        self.messages.extend(messages);
        self.chords.extend(chords);
        self.extended.extend(extended);
        self.groups.extend(groups);
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        let Self { messages, chords, extended, groups } = self;
        messages.is_empty() && chords.is_empty() && extended.is_empty() && groups.is_empty()
    }
}

impl Consequences {
    /// Whether nothing is brought about.
    pub fn is_empty(&self) -> bool {
        self.publication.is_empty() && self.results.is_empty() && self.parts.is_empty()
    }
}

impl From<Vec<Publish>> for Publication {
    fn from(messages: Vec<Publish>) -> Self {
        Self { messages, ..Self::default() }
    }
}

impl FromIterator<Publish> for Publication {
    fn from_iter<I: IntoIterator<Item = Publish>>(messages: I) -> Self {
        Vec::from_iter(messages).into()
    }
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Counted; others are awaited.
    Open,
    /// A success, and the last: the chord is closed if the part knew what to do, else the part was not counted.
    Last,
    /// A failure, this one or one from before the chord had a size: the chord is closed if the part knew what to do, else
    /// the part was not counted.
    Failed,
    /// The chord was closed before, or this member had reported: nothing changed.
    Over,
}

impl Counted {
    /// Whether this part closes its chord.
    pub fn closes(self) -> bool {
        matches!(self, Self::Last | Self::Failed)
    }
}

/// A chord that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Chord {
    /// How many members it waits for, those that reported and those it was extended by included; `None` while nobody has
    /// said.
    pub size: Option<u64>,
    /// What has been reported, in the order of the members' places, and of their ids where these are equal.
    pub parts: Vec<Reported>,
}

/// How far a chord is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChordProgress {
    /// As [`Chord::size`].
    pub size: Option<u64>,
    /// How many members have reported.
    pub reported: u64,
}

/// What one member has reported to its chord.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// The member.
    pub member: TaskId,
    /// Its place among the members.
    pub index: Option<i64>,
    /// How it ended.
    pub state: State,
    /// What it returned, or the exception.
    pub result: Value,
}

impl Reported {
    /// What reports are ordered by: their places, none last, then their members.
    pub(crate) fn order(&self) -> (bool, Option<i64>, &TaskId) {
        (self.index.is_none(), self.index, &self.member)
    }
}
