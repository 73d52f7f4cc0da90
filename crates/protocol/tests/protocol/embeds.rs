//! Telling tasks after which something happens from those after which nothing does.

use celeriac_protocol::{
    Arguments, Compression, Embed, Envelope, Message, Serializer, Signature, Value, body,
};

use crate::recorded::{recording, text};

fn message(body: &[u8]) -> Message {
    Message {
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        body: body.to_vec().into(),
        ..Message::default()
    }
}

#[test]
fn the_quick_answer_is_that_of_the_decoded_body() {
    let mut with_embeds = 0;
    for case in recording!("messages") {
        let message = Envelope::decode(text(&case, "envelope").as_bytes()).unwrap().message;
        let has_embed = !body::decode(&message).unwrap().embed.is_empty();
        assert_eq!(body::has_embed(&message), has_embed, "{}", case["name"]);
        with_embeds += usize::from(has_embed);
    }
    assert!(with_embeds > 0, "the recordings have messages of both kinds");
}

#[test]
fn a_body_that_tells_only_a_chord_is_known() {
    let mut members = 0;
    for case in recording!("messages") {
        let message = Envelope::decode(text(&case, "envelope").as_bytes()).unwrap().message;
        let mut embed = body::decode(&message).unwrap().embed;
        let is_plain_json =
            message.headers.compression.is_none() && &*message.content_type == "application/json";
        let only_a_chord = embed.chord.take().is_some() && embed.is_empty() && is_plain_json;
        assert_eq!(body::tells_only_a_chord(&message), only_a_chord, "{}", case["name"]);
        members += usize::from(only_a_chord);
    }
    assert!(members > 0, "members of chords are recorded");
    let cases = [
        (r#"[[], {}, {"chord": {"task": "t"}}]"#, true),
        (r#"[[], {}, {"chain": null, "chord": {"task": "t", "args": [1], "immutable": false}}]"#, true),
        (r#"[[], {}, {"chord": {"task": "t"}, "callbacks": [{"task": "next"}]}]"#, false),
        (r#"[[], {}, {"chord": {"task": "t"}, "other": 1}]"#, false),
        (r#"[[], {}, {"chord": {"task": "t"}, "callbacks": []}]"#, false),
        // What is no signature, and what is no body.
        (r#"[[], {}, {"chord": {"args": []}}]"#, false),
        (r#"[[], {}, {"chord": {"task": 1}}]"#, false),
        (r#"[[], {}, {"chord": {"task": "t", "options": []}}]"#, false),
        (r#"[[], {}, {"chord": [{"task": "t"}]}]"#, false),
        (r#"[[], {}, {"chord": {"task": "t"}}"#, false),
        (r#"[[], {}, {"chord": {"task": "t"}}] 1"#, false),
        (r#"[[], {}]"#, false),
    ];
    for (body, only_a_chord) in cases {
        assert_eq!(body::tells_only_a_chord(&message(body.as_bytes())), only_a_chord, "{body}");
    }
}

/// What is passed over must be what could be read, or a task would run whose message nobody can follow.
#[test]
fn a_call_is_decoded_exactly_where_the_whole_body_is() {
    let parts = [
        "1",
        "-0.5e+3",
        "null",
        "nul",
        "NaN",
        "-Infinity",
        "[1, [2, {}]]",
        "[1 2]",
        r#""a\u0041\ud800""#,
        r#""a\x""#,
        "\"\n\"",
        r#"{"a": 1, "a": [true, false]}"#,
        r#"{"\ud800": 1}"#,
        r#"{"a" 1}"#,
        r#"{1: 2}"#,
        "01",
        "[",
        "}",
        "",
    ];
    let deep = format!("{}{}", "[".repeat(600), "]".repeat(600));
    for part in parts.into_iter().chain([&*deep]) {
        for embed in [format!(r#"{{"chain": {part}, "other": null}}"#), part.to_owned()] {
            let message = message(format!("[[1], {{}}, {embed}]").as_bytes());
            let whole = body::decode(&message);
            let call = body::decode_call(&message, 1 << 20);
            match whole {
                Ok(whole) => {
                    assert_eq!(call.unwrap(), Arguments { embed: Embed::default(), ..whole }, "{embed}");
                }
                Err(error) => assert_eq!(call.unwrap_err().to_string(), error.to_string(), "{embed}"),
            }
        }
    }
}

#[test]
fn every_form_of_a_body_is_told() {
    let nothing = r#"{"callbacks": null, "errbacks": null, "chain": null, "chord": null}"#;
    let compact = nothing.replace(": ", ":").replace(", ", ",");
    let something = r#"{"callbacks": null, "errbacks": null, "chain": [{"task": "next"}], "chord": null}"#;
    let cases = [
        (format!("[[], {{}}, {nothing}]"), false),
        (format!("[[],{{}},{compact}]"), false),
        (format!("[[], {{}}, {nothing} ]"), false),
        ("[[], {}, {}]".to_owned(), false),
        ("[[], {}]".to_owned(), false),
        (format!("[[], {{}}, {something}]"), true),
        // What looks like an embed is an argument here.
        (format!("[[], {nothing}]"), false),
        (format!("[[{nothing}], {{}}, {something}]"), true),
        // Protocol 1.
        (r#"{"args": [], "kwargs": {}, "callbacks": null}"#.to_owned(), false),
        (r#"{"args": [], "kwargs": {}, "callbacks": [{"task": "next"}]}"#.to_owned(), true),
        // No body at all.
        (format!("[[1, 2, {something}"), false),
        (String::new(), false),
    ];
    for (body, has_embed) in cases {
        assert_eq!(body::has_embed(&message(body.as_bytes())), has_embed, "{body}");
    }
}

#[test]
fn every_serializer_and_compression_is_told() {
    let plain = Arguments::positional(vec![Value::Int(1)]);
    let mut linked = plain.clone();
    linked.embed.callbacks.push(Signature::new("next"));
    for serializer in [Serializer::Json, Serializer::MessagePack] {
        for compression in [None, Some(Compression::Zlib)] {
            for (arguments, has_embed) in [(&plain, false), (&linked, true)] {
                let body = body::encode(arguments, serializer, compression).unwrap();
                let mut message =
                    Message { content_type: serializer.content_type().into(), body, ..Message::default() };
                message.headers.compression =
                    compression.map(|compression| compression.content_type().into());
                assert_eq!(body::has_embed(&message), has_embed, "{serializer:?} {compression:?}");
            }
        }
    }
}
