//! Values as people read them, against Python's `repr` and Celery's `saferepr`.

use celeriac_protocol::{Value, json, repr};

use crate::recorded::{recording, text};

#[test]
fn argsrepr_and_kwargsrepr_are_celerys() {
    for case in recording!("saferepr") {
        let limit = usize::try_from(case["limit"].as_u64().unwrap()).unwrap();
        let ours = if case["args"].is_string() {
            let args = json::parse(text(&case, "args").as_bytes()).unwrap();
            repr::args(args.as_list().unwrap(), limit)
        } else {
            let kwargs = json::parse(text(&case, "kwargs").as_bytes()).unwrap();
            repr::kwargs(kwargs.as_map().unwrap(), limit)
        };
        assert_eq!(ours, text(&case, "repr"), "{case}");
    }
}

#[test]
fn repr_is_pythons() {
    for case in recording!("repr") {
        let value: Value = json::parse(text(&case, "json").as_bytes()).unwrap();
        assert_eq!(repr::repr(&value), text(&case, "repr"), "{case}");
    }
}
