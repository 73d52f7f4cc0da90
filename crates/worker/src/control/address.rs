//! Whether a command is for this worker.

use celeriac_protocol::control::Address;
use regex_lite::Regex;

/// The longest pattern that is looked at, in bytes. It comes from outside, and a worker has other things to do.
const LONGEST_PATTERN: usize = 1000;

/// Whether a command to this address is for the worker of this node name.
///
/// Source: `Node.handle_message`, `kombu/pidbox.py`, and `kombu/matcher.py`, kombu 5.7.0.
///
/// # Errors
/// When the pattern or the way in which it is written is not known here.
pub(super) fn is_for(address: &Address, node: &str) -> Result<bool, String> {
    match address {
        Address::All => Ok(true),
        Address::Nodes(nodes) => Ok(nodes.iter().any(|name| **name == *node)),
        Address::Matching { pattern, .. } if pattern.len() > LONGEST_PATTERN => {
            Err(format!("a pattern of {} bytes; the limit is {LONGEST_PATTERN}", pattern.len()))
        }
        Address::Matching { pattern, matcher } => {
            let expression = match &**matcher {
                "glob" => format!(r"(?s)\A(?:{})\z", from_glob(pattern)),
                // As Python's `re.match`: from the start, and not to the end.
                "pcre" => format!(r"\A(?:{pattern})"),
                other => return Err(format!("no such matcher: {other}; `glob` and `pcre` are known")),
            };
            let expression = Regex::new(&expression).map_err(|error| format!("{pattern}: {error}"))?;
            Ok(expression.is_match(node))
        }
    }
}

/// The regular expression of a pattern of the shell.
///
/// Source: `fnmatch.translate` of CPython 3.11.
fn from_glob(pattern: &str) -> String {
    let mut expression = String::with_capacity(pattern.len() * 2);
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        match next {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => match set(rest.as_str()) {
                Some((set, after)) => {
                    expression.push_str(&set);
                    rest = after.chars();
                }
                None => expression.push_str(r"\["),
            },
            other => expression.push_str(&regex_lite::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression
}

/// The characters in brackets, and what comes after them; nothing where no bracket closes.
fn set(rest: &str) -> Option<(String, &str)> {
    let (not, rest) = rest.strip_prefix('!').map_or(("", rest), |rest| ("^", rest));
    // A bracket that comes first is one of the characters.
    let end = rest.char_indices().skip(1).find(|(_, next)| *next == ']')?.0;
    let characters =
        rest[..end].replace('\\', r"\\").replace('[', r"\[").replace(']', r"\]").replace('^', r"\^");
    Some((format!("[{not}{characters}]"), &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(pattern: &str, matcher: &str) -> Address {
        Address::Matching { pattern: pattern.into(), matcher: matcher.into() }
    }

    #[test]
    fn everybody_and_those_who_are_named_are_meant() {
        assert_eq!(is_for(&Address::All, "w@h"), Ok(true));
        let nodes = Address::Nodes(vec!["a@h".into(), "w@h".into()]);
        assert_eq!((is_for(&nodes, "w@h"), is_for(&nodes, "w@hh")), (Ok(true), Ok(false)));
    }

    #[test]
    fn patterns_match_as_in_kombu() {
        for (pattern, matcher) in [
            ("w*", "glob"),
            ("w?@host.[a-z]*", "glob"),
            ("[!x]1@*", "glob"),
            ("[]w]1@*", "glob"),
            ("w1", "pcre"),
            (r"w\d@(host|other)", "pcre"),
            ("x|w", "pcre"),
        ] {
            assert_eq!(is_for(&matching(pattern, matcher), "w1@host.x"), Ok(true), "{pattern}");
        }
        for (pattern, matcher) in [
            ("w1", "glob"),
            ("[!w]*", "glob"),
            ("w1@host?x*x", "glob"),
            ("w[1@host.x", "glob"),
            ("host", "pcre"),
        ] {
            assert_eq!(is_for(&matching(pattern, matcher), "w1@host.x"), Ok(false), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_understood_says_so() {
        assert!(is_for(&matching("(", "pcre"), "w@h").is_err());
        assert!(is_for(&matching("w", "soundex"), "w@h").unwrap_err().contains("soundex"));
        assert!(is_for(&matching(&"*".repeat(2000), "glob"), "w@h").is_err());
    }
}
