//! The suite, cut into pieces that lanes take in turn.

/// Tests that take minutes, most because they wait for what must not happen, and between these, so that they have the machine
/// for themselves, tests with a thousand tasks: a piece each, and the first ones.
const LONG: [&str; 7] = [
    "t/integration/test_canvas.py::test_chord::test_disabling_flag_allow_error_cb_on_chord_header",
    "t/integration/test_canvas.py::test_chord::test_enabling_flag_allow_error_cb_on_chord_header",
    "t/integration/test_canvas.py::test_chord::test_flag_allow_error_cb_on_chord_header_on_upgraded_chord",
    "t/integration/test_canvas.py::test_chord::test_error_propagates_from_chord",
    "t/integration/test_canvas.py::test_chord::test_large_header",
    "t/integration/test_canvas.py::test_chord::test_chain_to_a_chord_with_large_header",
    "t/integration/test_backend_leak_in_fixture_teardown.py::test_fixture_teardown_releases_backend_connections",
];

/// How many tests a piece has at most. Each costs the start of a worker.
const SIZE: usize = 30;

/// What one run of pytest runs: tests of one file, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Ids, without parameters.
    pub(crate) tests: Vec<String>,
    /// Whether they have run before.
    again: bool,
}

/// Cuts these tests into pieces, the longest first. Tests of one function stay together.
pub(crate) fn cut(tests: &[String]) -> Vec<Piece> {
    let mut functions: Vec<&str> = tests.iter().map(|test| function(test)).collect();
    functions.dedup();
    let (long, short): (Vec<&str>, Vec<&str>) = functions.into_iter().partition(|test| LONG.contains(test));
    let mut pieces: Vec<Piece> = short
        .chunk_by(|one, next| file(one) == file(next))
        .flat_map(|file| file.chunks(SIZE))
        .map(piece)
        .collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.tests.len()));
    pieces.splice(0..0, long.chunks(1).map(piece));
    pieces
}

/// The pieces of a second try.
pub(crate) fn again(tests: &[String]) -> Vec<Piece> {
    cut(tests).into_iter().map(|piece| Piece { again: true, ..piece }).collect()
}

fn piece(tests: &[&str]) -> Piece {
    Piece { tests: tests.iter().copied().map(str::to_owned).collect(), again: false }
}

/// A test without its parameters.
fn function(test: &str) -> &str {
    test.split('[').next().unwrap_or(test)
}

fn file(test: &str) -> &str {
    test.split("::").next().unwrap_or(test)
}

impl Piece {
    /// What it is called in the output: its file, and its first test.
    pub(crate) fn name(&self) -> String {
        let first = self.tests.first().map_or("", String::as_str);
        let name = first.trim_start_matches("t/integration/").replace(".py::", "::");
        let before = if self.again { "again." } else { "" };
        before.to_owned() + &name.replace("::", ".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_into(tests: &[&str]) -> Vec<Vec<String>> {
        let tests: Vec<String> = tests.iter().copied().map(str::to_owned).collect();
        cut(&tests).into_iter().map(|piece| piece.tests).collect()
    }

    #[test]
    fn files_and_long_tests_are_pieces_of_their_own() {
        let pieces = cut_into(&["a.py::one", "b.py::two[x]", "b.py::two[y]", "b.py::three", LONG[1]]);
        assert_eq!(pieces, [vec![LONG[1]], vec!["b.py::two", "b.py::three"], vec!["a.py::one"]]);
    }

    #[test]
    fn a_large_file_is_cut() {
        let tests: Vec<String> = (0..SIZE + 1).map(|number| format!("a.py::test_{number}")).collect();
        assert_eq!(cut(&tests).iter().map(|piece| piece.tests.len()).collect::<Vec<_>>(), [SIZE, 1]);
    }
}
