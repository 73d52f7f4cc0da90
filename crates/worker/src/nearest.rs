//! Which known names a mistyped one was probably meant to be.

/// Up to three of the `known` names, the nearest first: those that differ in a third of their letters at most, in all or
/// in the name of the function alone.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const SHOWN: usize = 3;
    let mut ranked: Vec<(usize, &str)> = known
        .filter_map(|candidate| {
            let whole = near(name, candidate);
            let function = near(last_part(name), last_part(candidate)).map(|changes| changes + 1);
            whole.into_iter().chain(function).min().map(|changes| (changes, candidate))
        })
        .collect();
    ranked.sort_unstable();
    ranked.truncate(SHOWN);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// In how many letters two names differ, if in few.
fn near(name: &str, candidate: &str) -> Option<usize> {
    let changes = distance(name, candidate);
    (changes <= candidate.len().div_ceil(3)).then_some(changes)
}

/// The name of the function: what comes after the last dot.
fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The number of letters to insert, remove or replace (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(LONGEST).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// Names come from outside, and the distance of two texts takes time by the product of their lengths.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["proj.tasks.add", "proj.tasks.multiply", "urls.save_url"];

    #[test]
    fn a_typing_error_finds_its_name() {
        assert_eq!(nearest("urls.save_ulr", KNOWN.into_iter()), ["urls.save_url"]);
    }

    #[test]
    fn a_moved_function_is_found_by_its_last_part() {
        assert_eq!(nearest("tasks.multiply", KNOWN.into_iter()), ["proj.tasks.multiply"]);
    }

    #[test]
    fn a_foreign_name_finds_nothing() {
        assert!(nearest("billing.invoices.send", KNOWN.into_iter()).is_empty());
    }

    #[test]
    fn an_endless_name_takes_bounded_time() {
        assert!(nearest(&"x".repeat(10_000_000), KNOWN.into_iter()).len() <= 3);
    }
}
