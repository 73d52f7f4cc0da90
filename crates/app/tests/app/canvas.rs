//! Compositions unfold into what Celery publishes for them, recorded by `crates/protocol/tests/recorded/canvases.py`.

use std::collections::{BTreeMap, HashMap, HashSet};

use celeriac_app::App;
use celeriac_app::canvas::{Apply, Parent};
use celeriac_app::protocol::{Signature, TaskId, Timestamp, Value, body, json};
use celeriac_app::store::clock::Clock;
use celeriac_app::store::{Publication, Publish};

/// When the recordings were made.
const NOW: &str = "2026-11-23T12:30:00.250000+00:00";

fn recorded() -> Vec<Value> {
    let recording = json::parse(include_bytes!("../../../protocol/tests/recorded/canvases.json")).unwrap();
    assert_eq!(recording.get("written_by").unwrap().get("celery"), Some(&Value::from("5.7.0")));
    recording.get("cases").and_then(Value::as_list).unwrap().to_vec()
}

fn app() -> App {
    let now: Timestamp = NOW.parse().unwrap();
    App::new("canvas").with_clock(Clock::with_hand(now).0)
}

fn parsed(case: &Value, field: &str) -> Value {
    json::parse(case.get(field).and_then(Value::as_str).unwrap().as_bytes()).unwrap()
}

fn entries(value: Value) -> Vec<(Box<str>, Value)> {
    match value {
        Value::Map(entries) => entries,
        other => panic!("{other:?} is no dictionary"),
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::List(values) => values,
        other => panic!("{other:?} is no list"),
    }
}

/// What unfolding the signature of a case brings, in the form of the recording.
fn unfold(app: &App, case: &Value) -> Value {
    let signature = Signature::from_value(parsed(case, "signature")).unwrap();
    let parent = case.get("parent").filter(|parent| !parent.is_null()).map(|parent| Parent {
        id: TaskId::new(parent.get("id").and_then(Value::as_str).unwrap()),
        root_id: TaskId::new(parent.get("root_id").and_then(Value::as_str).unwrap()),
    });
    let chain = list(parsed(case, "chain")).into_iter().map(|step| Signature::from_value(step).unwrap());
    let apply = Apply {
        args: list(case.get("args").unwrap().clone()),
        kwargs: entries(case.get("kwargs").unwrap().clone()),
        options: entries(parsed(case, "options")),
        chain: chain.collect(),
        parent,
    };
    let unfolded = app.unfold(signature, apply).unwrap();
    let Publication { messages, chords, groups, .. } = unfolded.publication;
    let pair = |first: &str, second: Value| Value::List(vec![Value::from(first), second]);
    let chords = chords.iter().map(|chord| pair(chord.id.as_str(), Value::from(chord.size)));
    let groups = groups.into_iter().map(|group| pair(group.id.as_str(), group.result));
    Value::Map(vec![
        ("messages".into(), Value::List(messages.iter().map(message).collect())),
        ("chords".into(), Value::List(chords.collect())),
        ("groups".into(), Value::List(groups.collect())),
        ("result".into(), unfolded.result.map_or(Value::Null, |result| result.as_tuple())),
        ("children".into(), Value::List(unfolded.children)),
    ])
}

fn message(publish: &Publish) -> Value {
    let message = &publish.message;
    let mut headers = entries(json::parse(&message.headers.to_json()).unwrap());
    headers.retain(|(name, _)| {
        !["argsrepr", "kwargsrepr", "origin", "lang", "celeriac_sent_at_us"].contains(&&**name)
    });
    let body = body::decode(message).unwrap().into_value();
    let [args, kwargs, embed] = <[Value; 3]>::try_from(list(body)).unwrap();
    Value::Map(vec![
        ("queue".into(), Value::from(publish.route.queue().as_str())),
        ("priority".into(), Value::from(i64::from(message.properties.priority.unwrap_or(0)))),
        ("headers".into(), Value::Map(headers)),
        ("args".into(), args),
        ("kwargs".into(), kwargs),
        ("embed".into(), embed),
    ])
}

/// A value without what says nothing, in an order of its own.
pub(crate) fn plain(value: Value) -> Value {
    match value {
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries
                .into_iter()
                .filter(|(name, _)| **name != *"reply_to")
                .map(|(name, value)| (name, plain(value)))
                .filter(|(_, value)| !says_nothing(value))
                .collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Map(entries)
        }
        Value::List(values) => Value::List(values.into_iter().map(plain).collect()),
        other => other,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) => true,
        Value::List(values) => values.iter().all(Value::is_null),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

/// Compares values up to a renaming of ids, which it keeps.
#[derive(Default)]
struct Renaming {
    ours: HashMap<Box<str>, Box<str>>,
}

impl Renaming {
    /// Where they differ, or nothing.
    fn difference(&mut self, path: &str, theirs: &Value, ours: &Value) -> Option<String> {
        let differ = || Some(format!("{path}\n  theirs {theirs:?}\n  ours   {ours:?}"));
        match (theirs, ours) {
            // Celery freezes a chord again whenever it copies it, and then forgets the id that its header had: several ids
            // of theirs may be one of ours, but never one of theirs several of ours.
            (Value::String(theirs), Value::String(ours)) if is_id(theirs) && is_id(ours) => {
                let renamed = self.ours.entry(theirs.clone()).or_insert_with(|| ours.clone());
                if renamed == ours { None } else { differ() }
            }
            (Value::List(theirs), Value::List(ours)) if theirs.len() == ours.len() => {
                let mut pairs = theirs.iter().zip(ours).enumerate();
                pairs.find_map(|(at, (theirs, ours))| self.difference(&format!("{path}[{at}]"), theirs, ours))
            }
            (Value::Map(theirs), Value::Map(ours)) => self.of_maps(path, theirs, ours),
            _ if theirs == ours => None,
            _ => differ(),
        }
    }

    fn of_maps(&mut self, path: &str, theirs: &[Entry], ours: &[Entry]) -> Option<String> {
        for (name, ours) in ours {
            match theirs.iter().find(|(other, _)| other == name) {
                Some((_, theirs)) => {
                    if let Some(found) = self.difference(&format!("{path}.{name}"), theirs, ours) {
                        return Some(found);
                    }
                }
                // A group that was sent without a root keeps it empty there, and leaves it to the worker.
                None if **name == *"root_id" => {}
                None => return Some(format!("{path}: only ours has {name}")),
            }
        }
        let is_missing = |name: &str| !ours.iter().any(|(other, _)| **other == *name);
        let missing = theirs.iter().find(|(name, _)| is_missing(name));
        missing.map(|(name, _)| format!("{path}: only theirs has {name}"))
    }

    /// The chords that begin, with the ids that are ours. Chords of which no message is a member are passed over: Celery
    /// begins one for a group at the end of a chain in a chord, whose members count for the outer chord.
    fn chords(&self, theirs: &Value, members: &Value) -> BTreeMap<Box<str>, Value> {
        let pairs = theirs.as_list().unwrap_or_default().iter().filter_map(Value::as_list);
        let groups: Vec<_> = members.as_list().unwrap_or_default().iter().filter_map(group).collect();
        pairs
            .filter_map(|pair| {
                let id = pair[0].as_str().unwrap();
                let id = self.ours.get(id).map_or(id, |renamed| renamed);
                groups.contains(&id).then(|| (id.into(), pair[1].clone()))
            })
            .collect()
    }
}

type Entry = (Box<str>, Value);

fn group(message: &Value) -> Option<&str> {
    message.get("headers")?.get("group")?.as_str()
}

fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// What differs between the recording of a case and what it brings here.
fn compare(app: &App, case: &Value) -> Option<String> {
    let ours = plain(unfold(app, case));
    let fields = ["messages", "chords", "groups", "result", "children"];
    let theirs =
        plain(Value::Map(fields.map(|name| (name.into(), case.get(name).unwrap().clone())).to_vec()));
    let sent = ours.get("messages").and_then(Value::as_list).unwrap_or_default();
    let ids: HashSet<_> =
        sent.iter().map(|message| message.get("headers").and_then(|it| it.get("id")?.as_str())).collect();
    assert_eq!(ids.len(), sent.len(), "every message has an id of its own");
    let mut renaming = Renaming::default();
    for field in ["messages", "groups", "result", "children"] {
        let of = |whole: &Value| whole.get(field).cloned().unwrap_or_default();
        if let Some(found) = renaming.difference(field, &of(&theirs), &of(&ours)) {
            return Some(found);
        }
    }
    let messages = ours.get("messages").cloned().unwrap_or_default();
    let of = |whole: &Value, renaming: &Renaming| {
        renaming.chords(&whole.get("chords").cloned().unwrap_or_default(), &messages)
    };
    let (theirs, ours) = (of(&theirs, &renaming), of(&ours, &Renaming::default()));
    (theirs != ours).then(|| format!("chords\n  theirs {theirs:?}\n  ours   {ours:?}"))
}

/// Where Celery loses the results of the header: its chain in the body begins with a group, which forgets the arguments it is
/// given (`celery/canvas.py`, `group.from_dict`). Here it keeps them.
const BETTER: [&str; 2] =
    ["chord with a group and a task as its body", "chord with a group and a task as its body: step 1 body"];

#[tokio::test(start_paused = true)]
async fn compositions_publish_what_celery_publishes() {
    let app = app();
    let cases = recorded();
    let mut different = Vec::new();
    for case in &cases {
        let name = case.get("name").and_then(Value::as_str).unwrap();
        match compare(&app, case) {
            None => assert!(!BETTER.contains(&name), "{name} is as in Celery"),
            Some(_) if BETTER.contains(&name) => {}
            Some(found) => different.push(format!("{name}: {found}")),
        }
    }
    let (count, all) = (different.len(), cases.len());
    assert!(different.is_empty(), "{count} of {all} differ:\n{}", different.join("\n"));
}

/// A signature from a stranger is refused or unfolded, whatever is in it.
#[tokio::test(start_paused = true)]
async fn a_damaged_signature_does_no_harm() {
    let app = app();
    let (mut state, mut unfolded) = (0x5eed_u64, 0);
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let parts: [&[u8]; 8] = [b"null", b"[]", b"{}", b"\"chain\"", b"\"group\"", b"\"chord\"", b"-1", b"1e9"];
    for case in recorded() {
        let mut text = case.get("signature").and_then(Value::as_str).unwrap().as_bytes().to_vec();
        for _ in 0..4 {
            // Values are exchanged, so that most of what comes out is still JSON.
            let Some(at) = (0..8).map(|_| next(text.len())).find(|at| b":,[".contains(&text[*at])) else {
                continue;
            };
            let rest = &text[at + 1..];
            let end = rest.iter().position(|byte| b",}]{[".contains(byte)).unwrap_or(rest.len());
            text.splice(at + 1..at + 1 + end, parts[next(parts.len())].iter().copied());
            let signature = json::parse(&text).ok().and_then(|value| Signature::from_value(value).ok());
            unfolded += signature.map_or(0, |it| usize::from(app.unfold(it, Apply::default()).is_ok()));
        }
    }
    assert!(unfolded > 50, "only {unfolded} of them could be tried");
}
