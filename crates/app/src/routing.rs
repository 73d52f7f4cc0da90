//! Which queue a task goes to, by patterns of its name: Celery's `task_routes`.
//!
//! Source: `celery/app/routes.py`, `MapRoute`, Celery 5.7.0. An exact name goes before every pattern, and patterns
//! are tried in order. As there, a name is a pattern if it holds a `*`; then `?` and `[...]` count too.

use celeriac_protocol::QueueName;

/// Where the tasks of one pattern go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTarget {
    /// The queue, or none to leave it to the other rules.
    pub queue: Option<QueueName>,
    /// The priority: 0 (lowest) to 9 (highest).
    pub priority: Option<u8>,
}

impl From<&str> for RouteTarget {
    fn from(queue: &str) -> Self {
        Self { queue: Some(queue.into()), priority: None }
    }
}

/// The routes of a program, in order.
///
/// ```
/// use celeriac_app::Routes;
///
/// let routes = Routes::new([("feed.*", "feeds"), ("feed.now", "urgent")]);
/// let queue = |task| routes.find(task).and_then(|target| target.queue.as_ref()).map(|queue| queue.as_str());
/// assert_eq!(queue("feed.parse"), Some("feeds"));
/// assert_eq!(queue("feed.now"), Some("urgent"), "an exact name goes first");
/// assert_eq!(queue("mail.send"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    entries: Vec<(Box<str>, RouteTarget)>,
}

impl Routes {
    /// Routes from names or patterns to targets.
    pub fn new<P, T>(entries: impl IntoIterator<Item = (P, T)>) -> Self
    where
        P: Into<Box<str>>,
        T: Into<RouteTarget>,
    {
        Self { entries: entries.into_iter().map(|(name, target)| (name.into(), target.into())).collect() }
    }

    /// Where a task of this name goes, if any route says so.
    pub fn find(&self, task: &str) -> Option<&RouteTarget> {
        of_task(&self.entries, task)
    }

    /// All routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RouteTarget)> {
        self.entries.iter().map(|(name, target)| (&**name, target))
    }
}

/// The entry for a task: that of its exact name, else that of the first pattern that fits.
pub(crate) fn of_task<'entries, T>(entries: &'entries [(Box<str>, T)], task: &str) -> Option<&'entries T> {
    let exact = || entries.iter().find(|(name, _)| !name.contains('*') && **name == *task);
    let pattern = || entries.iter().find(|(name, _)| name.contains('*') && matches(name, task));
    if entries.is_empty() {
        return None;
    }
    exact().or_else(pattern).map(|(_, found)| found)
}

/// Whether `name` fits a pattern of Python's `fnmatch`: `*` is any text, `?` any character, `[abc]` one of these,
/// `[!abc]` none of these, and ranges as `[a-z]`.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on if the text after the last `*` does not fit: one more character goes to that `*`.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match step(&pattern[p..], name[n]) {
            Step::Star => {
                p += 1;
                retry = Some((p, n));
            }
            Step::Fits(length) => {
                p += length;
                n += 1;
            }
            Step::Differs => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    (p, n) = (after_star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

enum Step {
    Star,
    /// The character fits the pattern element of this length.
    Fits(usize),
    Differs,
}

fn step(pattern: &[char], c: char) -> Step {
    let fits = |yes, length| if yes { Step::Fits(length) } else { Step::Differs };
    match pattern.first() {
        None => Step::Differs,
        Some('*') => Step::Star,
        Some('?') => Step::Fits(1),
        // As in a regular expression, a `]` right after the opening stands for itself.
        Some('[') => {
            match pattern.iter().skip(2 + usize::from(pattern.get(1) == Some(&'!'))).position(|c| *c == ']') {
                None => fits(c == '[', 1),
                Some(at) => {
                    let end = at + 2 + usize::from(pattern.get(1) == Some(&'!'));
                    fits(class_holds(&pattern[1..end], c), end + 1)
                }
            }
        }
        Some(literal) => fits(*literal == c, 1),
    }
}

fn class_holds(class: &[char], c: char) -> bool {
    let (negated, mut rest) = match class {
        ['!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    while let Some(&first) = rest.first() {
        if let [low, '-', high, after @ ..] = rest {
            found |= (*low..=*high).contains(&c);
            rest = after;
        } else {
            found |= first == c;
            rest = &rest[1..];
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_pythons_fnmatch() {
        // Asked of CPython 3.11: fnmatch.fnmatchcase(name, pattern).
        let cases = [
            ("*", "", true),
            ("a.*", "a.b.c", true),
            ("a.*", "a", false),
            ("*.b.*", "x.b.y.b.z", true),
            ("*b", "abab", true),
            ("?.*", "x.y", true),
            ("?.*", ".y", false),
            ("[ab]*", "beta", true),
            ("[!ab]*", "beta", false),
            ("[a-c]*", "cat", true),
            ("[a-c]*", "dog", false),
            ("[]]*", "]x", true),
            ("[x*", "[xy", true),
            ("[!]]*", "a", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn patterns_are_tried_in_order() {
        let routes = Routes::new([("a.*", "first"), ("a.b.*", "second")]);
        assert_eq!(routes.find("a.b.c").unwrap().queue, Some("first".into()));
    }
}
