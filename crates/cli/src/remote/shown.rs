//! Replies for people, laid out as `celery` lays them out. Pure.
//!
//! Source: `CLIContext.pretty` and `CLIContext.say_chat`, `celery/bin/base.py`, Celery 5.7.0.

use celeriac_app::control::Reply;
use celeriac_protocol::{Value, json};
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::output::show_value;
use crate::table::printable;

/// Who replied, and whether all went well.
pub(super) fn title(reply: &Reply) -> String {
    let went = if is_error(&reply.value) { "ERROR" } else { "OK" };
    format!("->  {}: {went}", printable(&reply.node))
}

/// The same, and what was replied.
pub(super) fn chat(reply: &Reply) -> String {
    format!("{}\n{}", title(reply), indented(&body(&reply.value)))
}

fn is_error(value: &Value) -> bool {
    value.get("ok").is_none() && value.get("error").is_some()
}

fn body(value: &Value) -> String {
    if let Some(inner) = value.get("ok").or_else(|| value.get("error")) {
        return indented(&body(inner));
    }
    match value {
        Value::List(items) if items.is_empty() => "- empty -".to_owned(),
        Value::List(items) => {
            let items: Vec<String> =
                items.iter().map(|item| format!("* {}", printable(&show_value(item)))).collect();
            items.join("\n")
        }
        Value::Map(_) => document(value),
        // It may have many lines, and none of them may steer the terminal.
        Value::String(text) => text.lines().map(printable).collect::<Vec<_>>().join("\n"),
        Value::Null => "None".to_owned(),
        other => printable(&show_value(other)),
    }
}

/// A map as JSON over many lines, in the order of its keys.
fn document(value: &Value) -> String {
    let plain = json::to_bytes(value);
    let Ok(sorted) = serde_json::from_slice::<serde_json::Value>(&plain) else {
        // It has a number that only Python writes into JSON.
        return printable(&String::from_utf8_lossy(&plain));
    };
    let mut written = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut written, PrettyFormatter::with_indent(b"    "));
    match sorted.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&written).lines().map(printable).collect::<Vec<_>>().join("\n"),
        Err(_) => printable(&String::from_utf8_lossy(&plain)),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::map;

    fn shown(value: Value) -> String {
        chat(&Reply { node: "w@h".into(), value, ticket: Value::Null })
    }

    #[test]
    fn replies_look_as_celery_prints_them() {
        assert_eq!(shown(map([("ok", "pong".into())])), "->  w@h: OK\n        pong");
        assert_eq!(shown(map([("error", "no\nway".into())])), "->  w@h: ERROR\n        no\n        way");
        assert_eq!(shown(Value::List(Vec::new())), "->  w@h: OK\n    - empty -");
        let list = Value::List(vec!["a".into(), map([("b", 1.into())])]);
        assert_eq!(shown(list), "->  w@h: OK\n    * a\n    * {\"b\": 1}");
        let nested = map([("b", 1.into()), ("a", map([("c", Value::Null)]))]);
        let expected = r#"->  w@h: OK
    {
        "a": {
            "c": null
        },
        "b": 1
    }"#;
        assert_eq!(shown(nested), expected);
    }

    #[test]
    fn replies_do_not_steer_the_terminal() {
        assert!(!shown("\u{1b}[2J".into()).contains('\u{1b}'));
        assert!(!shown(map([("a", "\u{1b}[2J".into())])).contains('\u{1b}'));
    }
}
