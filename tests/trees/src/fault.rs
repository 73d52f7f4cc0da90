//! Failures, by what distinguishes them.

use celeriac_app::protocol::{ResultRecord, State, TaskException};

/// What a result that is no value says of why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Whether it is that of a chord, one of whose members has failed.
    pub of_chord: bool,
    /// What it goes back to.
    pub cause: Cause,
}

/// What a failure goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The task of this number failed.
    Failed(u32),
    /// A task had expired.
    Expired,
}

impl Fault {
    /// What the body of a chord gets.
    pub(crate) fn to_chord(self) -> Self {
        Self { of_chord: true, ..self }
    }

    /// The fault in a result, if it is one of those there are.
    pub fn found(record: &ResultRecord) -> Option<Self> {
        let exception = record.exception()?;
        let cause = cause(&exception)?;
        let fault = Self { of_chord: &*exception.exc_type == "ChordError", cause };
        let (name, state) = match cause {
            _ if fault.of_chord => ("ChordError", State::Failure),
            Cause::Failed(_) => ("ValueError", State::Failure),
            Cause::Expired => ("TaskRevokedError", State::Revoked),
        };
        (&*exception.exc_type == name && record.state == state).then_some(fault)
    }
}

/// Chords name what their members raised, which may be that of a chord again.
fn cause(exception: &TaskException) -> Option<Cause> {
    let message = exception.message();
    match message.split_once("broken ") {
        Some((_, rest)) => {
            let end = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse().ok().map(Cause::Failed)
        }
        None => message.contains("expired").then_some(Cause::Expired),
    }
}
