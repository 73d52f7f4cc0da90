//! How soon tasks should start and be done, by patterns of their names.

use std::time::Duration;

use crate::routing::of_task;

/// How soon the tasks of one pattern should start and be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objective {
    /// From sending until the start of the first run; none for no objective.
    pub response: Option<Duration>,
    /// From the first sending until success or failure, retries included; none for no objective.
    pub resolution: Option<Duration>,
}

/// The objectives of a program, in order. Metrics count which tasks met theirs.
///
/// ```
/// use std::time::Duration;
///
/// use celeriac_app::{Objective, Objectives};
///
/// let soon = Objective { response: Some(Duration::from_secs(1)), ..Objective::default() };
/// let objectives = Objectives::new([("feed.*", Objective::default()), ("feed.now", soon)]);
/// assert_eq!(objectives.find("feed.now"), soon, "an exact name goes first");
/// assert_eq!(objectives.find("mail.send"), Objective::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objectives {
    entries: Vec<(Box<str>, Objective)>,
}

impl Objectives {
    /// Objectives by names, or patterns with a `*` as those of [`crate::Routes`].
    pub fn new(entries: impl IntoIterator<Item = (impl Into<Box<str>>, Objective)>) -> Self {
        Self { entries: entries.into_iter().map(|(name, objective)| (name.into(), objective)).collect() }
    }

    /// That of a task of this name.
    pub fn find(&self, task: &str) -> Objective {
        of_task(&self.entries, task).copied().unwrap_or_default()
    }

    /// All objectives, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Objective)> {
        self.entries.iter().map(|(name, objective)| (&**name, *objective))
    }
}
