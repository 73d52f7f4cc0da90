//! What is composed in Rust has the form that the same has when it is composed in Python.

use celeriac_app::canvas::{Composed, Step, chord, group, map, starmap};
use celeriac_app::protocol::{Value, json};
use celeriac_app::{Signature, args, kwargs};

use crate::canvas::plain;

fn recorded(name: &str) -> Value {
    let recording = include_bytes!("../../../protocol/tests/recorded/signatures.json");
    let recording = json::parse(recording).unwrap();
    let cases = recording.get("cases").and_then(Value::as_list).unwrap();
    let case =
        cases.iter().find(|case| case.get("name") == Some(&Value::from(name))).expect("it is recorded");
    plain(json::parse(case.get("text").and_then(Value::as_str).unwrap().as_bytes()).unwrap())
}

fn form(composed: impl Into<Composed>) -> Value {
    let mut signature = composed.into().signature;
    // Celery knows the route of a map from the task that it calls; ours is told.
    signature.options.retain(|(name, _)| **name != *"route_name");
    plain(signature.into_value())
}

fn add(x: i64, y: i64) -> Signature<i64> {
    Signature::named("proj.add", args![x, y], kwargs! {})
}

fn step(y: i64) -> Step<i64, i64> {
    Step::named("proj.add", args![y], kwargs! {})
}

fn total() -> Step<Vec<i64>, i64> {
    Step::named("proj.total", args![], kwargs! {})
}

#[test]
fn compositions_have_the_form_of_celery() {
    let chain = add(1, 1).then(step(2)).then(step(3));
    assert_eq!(form(chain), recorded("chain"));
    assert_eq!(form(chord(group((0..2).map(|n| add(n, n))), total())), recorded("chord"));
    let errback = Step::<String, i64>::named("proj.total", args![], kwargs! {});
    assert_eq!(form(add(2, 2).link(step(16)).link_error(errback)), recorded("linked"));
    let stamped = Signature::<i64>::named("proj.add", args![1], kwargs! {}).stamp("tenant", "a");
    assert_eq!(form(stamped), recorded("stamped"));
}

#[test]
fn maps_have_the_form_of_celery() {
    let add: Step<i64, i64> = Step::named("proj.add", args![], kwargs! {});
    // Both ignore what comes before them, and say so when something does.
    let immutable = |mut composed: Composed| {
        composed.signature.immutable = true;
        composed
    };
    assert_eq!(form(immutable(map(&add, [1, 2, 3]).into())), recorded("map"));
    assert_eq!(form(immutable(starmap(&add, [(1, 2), (3, 4)]).into())), recorded("starmap"));
}
