//! Compositions in compositions, three and more deep.

use celeriac::prelude::*;

use super::parts::{add, echo, plus, total};

pub(super) fn chords_four_deep() -> Signature<i64> {
    (0..4).fold(echo(1), |inner, _| chord(group([inner, echo(1)]), total()))
}

pub(super) fn bodies_four_deep() -> Signature<i64> {
    let body = (0..4).fold(total(), |body, _| group([total(), total()]).then(body));
    chord(group([echo(1), echo(2)]), body)
}

pub(super) fn chains_and_groups_four_deep() -> Signature<i64> {
    let inner = (0..4).fold(plus(1), |inner, _| plus(1).then(group([inner, plus(2)])).then(total()));
    echo(1).then(inner)
}

pub(super) fn a_chain_of_a_chord_of_a_chain_of_a_chord() -> Signature<i64> {
    let inner_chord = || group([plus(1), plus(2)]).then(total());
    let inner = plus(1).then(inner_chord()).then(plus(1));
    add(1, 1).then(group([inner, plus(5)])).then(total().then(inner_chord()))
}

pub(super) fn a_group_of_chains_that_end_in_chords() -> Group<i64> {
    let member =
        |n: i64| echo(n).then(group([plus(1), plus(2)])).then(group([total(), total()])).then(total());
    group((0..3).map(member))
}

pub(super) fn a_chord_whose_header_chains_end_in_groups() -> Signature<i64> {
    let member = |n| add(n, n).then(group([plus(1), plus(2).then(plus(3))]));
    chord(group([member(1), member(2)]), total())
}

pub(super) fn a_wide_and_deep_tree() -> Signature<i64> {
    fn tree(depth: i64) -> Signature<i64> {
        if depth == 0 {
            return add(1, 1);
        }
        chord(group([tree(depth - 1), tree(depth - 1).then(plus(1)), echo(depth)]), total())
    }
    tree(3)
}
