//! The nearest known name, for errors about unknown ones.

/// Names come from outside. A longer one is not compared, in bytes.
const LONGEST: usize = 200;

/// The known name that `name` most likely means: the one with the fewest changes, if these are few for its length.
/// A name of more than 200 bytes means none.
///
/// ```
/// let known = ["worker_concurrency", "worker_lease"];
/// assert_eq!(celeriac_app::nearest_name("worker_concurency", known), Some("worker_concurrency"));
/// assert_eq!(celeriac_app::nearest_name("broker", known), None);
/// ```
pub fn nearest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let longest = name.chars().count();
    let nearest = known.into_iter().map(|known| (changes(name, known), known)).min()?;
    (nearest.0 <= longest.div_ceil(3)).then_some(nearest.1)
}

/// How many characters to insert, remove or replace to make `b` of `a` (Levenshtein).
fn changes(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted() {
        assert_eq!(changes("kitten", "sitting"), 3);
        assert_eq!(changes("", "abc"), 3);
        assert_eq!(changes("same", "same"), 0);
    }
}
