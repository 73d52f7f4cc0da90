//! Groups, and maps over lists.

use celeriac::canvas::{chunks, map, starmap};
use celeriac::prelude::*;

use super::parts::{add, echo, plus, same, sum, total, whoami};

pub(super) fn a_group_answers_in_order() -> Group<i64> {
    group((0..10).map(|n| add(n, n)))
}

pub(super) fn members_know_their_group_and_place() -> Group {
    group((0..4).map(|_| whoami()))
}

pub(super) fn a_group_of_groups_is_flat() -> Group<i64> {
    let groups = [group([echo(1), echo(2)]), group([group([group([echo(3)])])]), group([echo(4)])];
    group(groups)
}

pub(super) fn a_group_of_chains() -> Group<i64> {
    group((0..4).map(|n| add(n, 1).then(plus(n)).then(plus(n))))
}

pub(super) fn a_group_of_chords() -> Group<i64> {
    group((0..3).map(|n| chord(group([add(n, 1), add(n, 2)]), total())))
}

pub(super) fn a_group_ends_in_groups() -> Group<i64> {
    let member = |x, y| add(x, y).then(group([plus(x), plus(x + 1)]));
    group([member(1, 2), member(3, 4)])
}

pub(super) fn each_member_has_a_callback() -> Group<i64> {
    let told = || Step::<i64, Value>::named("canvas.note", args![], kwargs! {});
    group((0..4).map(|n| add(n, n).link(told())))
}

pub(super) fn a_map() -> Signature<Vec<Value>> {
    let three = Value::Map(vec![("three".into(), 3.into())]);
    map(&same(), [Value::List(vec![1.into()]), "two".into(), three])
}

pub(super) fn a_starmap() -> Signature<Vec<i64>> {
    starmap(&sum(), [(1, 1), (2, 2), (3, 3)])
}

pub(super) fn a_map_with_a_callback() -> Signature<Vec<i64>> {
    map(&total(), [vec![1, 2], vec![3, 4]]).link(total())
}

pub(super) fn maps_in_a_chain() -> Signature<Vec<i64>> {
    add(1, 1).then(starmap(&sum(), [(1, 1), (2, 2)])).then(total()).then(map(&total(), [vec![1], vec![2]]))
}

pub(super) fn chunks_are_a_group() -> Group<Vec<i64>> {
    chunks(&sum(), (0..7).map(|n| (n, n)), 3)
}

pub(super) fn chunks_before_a_task() -> Signature<i64> {
    chunks(&sum(), (0..6).map(|n| (n, n)), 2).then(total().accepting())
}
