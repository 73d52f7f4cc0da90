//! Telling tasks after which something happens from those after which nothing does.

use celeriac_protocol::{Arguments, Compression, Envelope, Message, Serializer, Signature, Value, body};

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
