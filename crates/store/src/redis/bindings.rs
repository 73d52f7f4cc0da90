//! Bindings of queues to exchanges, as kombu keeps them, and which of them a routing key matches.

use crate::ExchangeType;

/// A queue bound to an exchange, as it was found.
#[derive(Debug, PartialEq)]
pub(super) struct Binding {
    /// What it is bound by: a routing key, or words with wildcards for a topic exchange.
    key: String,
    /// Whether the exchange is a topic exchange, whose bindings carry a pattern.
    topic: bool,
    queue: String,
}

impl Binding {
    /// Reads routing key, pattern and queue with separators between them.
    ///
    /// Source: `Channel._queue_bind`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn parse(member: &[u8], separator: &str) -> Option<Self> {
        let mut parts = std::str::from_utf8(member).ok()?.splitn(3, separator);
        let (key, pattern, queue) = (parts.next()?, parts.next()?, parts.next()?);
        let bound = Self { key: key.to_owned(), topic: !pattern.is_empty(), queue: queue.to_owned() };
        (!queue.is_empty()).then_some(bound)
    }

    /// Writes what [`Binding::parse`] reads.
    pub(super) fn member(binding: &crate::Binding, separator: &str) -> String {
        let crate::Binding { queue, exchange_type, routing_key, .. } = binding;
        let pattern = match exchange_type {
            ExchangeType::Topic => pattern_of(routing_key),
            ExchangeType::Direct | ExchangeType::Fanout => String::new(),
        };
        [routing_key, &*pattern, queue.as_str()].join(separator)
    }

    fn matches(&self, routing_key: &str) -> bool {
        if self.topic { topic_matches(&self.key, routing_key) } else { self.key == routing_key }
    }
}

/// The queues among these bindings that a routing key leads to, each once.
///
/// Source: `DirectExchange.lookup`, `TopicExchange.lookup`, `kombu/transport/virtual/exchange.py`, kombu 5.7.0.
pub(super) fn queues_of<'binding>(bindings: &'binding [Binding], routing_key: &str) -> Vec<&'binding str> {
    let matching = bindings.iter().filter(|binding| binding.matches(routing_key));
    let mut queues: Vec<&str> = matching.map(|binding| &*binding.queue).collect();
    queues.sort_unstable();
    queues.dedup();
    queues
}

/// The regular expression of Python for words with wildcards.
///
/// Source: `TopicExchange.key_to_pattern`, `kombu/transport/virtual/exchange.py`, and `escape_regex`, `kombu/utils/text.py`,
/// kombu 5.7.0.
fn pattern_of(words: &str) -> String {
    let escaped = |word: &str| {
        let mut text = String::new();
        for letter in word.chars() {
            match letter {
                '\0' => text.push_str("\\000"),
                letter if letter.is_alphanumeric() || matches!(letter, '#' | '*') => text.push(letter),
                letter => text.extend(['\\', letter]),
            }
        }
        text
    };
    let word = |word: &str| match word {
        "*" => r"[^\.]+".to_owned(),
        "#" => r".*?".to_owned(),
        word => escaped(word),
    };
    format!("^{}$", words.split('.').map(word).collect::<Vec<_>>().join(r"\."))
}

/// Whether words with wildcards match a key: `*` is one word, `#` any text. As in kombu, and unlike AMQP, the dots beside
/// a `#` must be there.
///
/// Source: `TopicExchange.wildcards`, `TopicExchange.key_to_pattern`, `kombu/transport/virtual/exchange.py`, kombu 5.7.0.
fn topic_matches(words: &str, key: &str) -> bool {
    // Where the next word may begin.
    let mut starts = vec![0];
    let mut words = words.split('.').peekable();
    while let Some(word) = words.next() {
        let ends = ends_of(word, key, &starts);
        if words.peek().is_none() {
            return ends.contains(&key.len());
        }
        starts = ends.into_iter().filter(|end| key[*end..].starts_with('.')).map(|end| end + 1).collect();
    }
    false
}

/// Where a word that begins at one of `starts` may end.
fn ends_of(word: &str, key: &str, starts: &[usize]) -> Vec<usize> {
    let next_dot = |start: usize| key[start..].find('.').map_or(key.len(), |length| start + length);
    match word {
        "#" => {
            let first = starts.iter().min().copied().unwrap_or(key.len() + 1);
            (first..=key.len()).filter(|end| key.is_char_boundary(*end)).collect()
        }
        "*" => starts
            .iter()
            .map(|start| (*start, next_dot(*start)))
            .filter(|(start, end)| end > start)
            .map(|(_, end)| end)
            .collect(),
        word => starts
            .iter()
            .filter(|start| key[**start..].starts_with(word))
            .map(|start| start + word.len())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_kombu() {
        for (words, key) in [
            ("a.b", "a.b"),
            ("a.*", "a.b"),
            ("*", "ä"),
            ("*.b.*", "a.b.c"),
            ("#", ""),
            ("#", "a.b"),
            ("a.#", "a.b.c"),
            ("a.#", "a."),
            ("#.c", "a.b.c"),
            ("a.#.d", "a.b.c.d"),
            ("a.#.c.#.e", "a.b.c.d.c.e"),
        ] {
            assert!(topic_matches(words, key), "{words} should match {key}");
        }
        for (words, key) in [
            ("a.*", "a"),
            ("a.*", "a.b.c"),
            ("a.*", "a."),
            ("a.#", "a"),
            ("#.a", "a"),
            ("a", "ab"),
            ("", "a"),
        ] {
            assert!(!topic_matches(words, key), "{words} should not match {key}");
        }
    }

    #[test]
    fn a_binding_is_written_as_kombu_writes_it() {
        let member = |exchange_type, routing_key: &str| {
            let (queue, exchange) = ("q".into(), "x".into());
            let routing_key = routing_key.into();
            Binding::member(&crate::Binding { queue, exchange, exchange_type, routing_key }, "|")
        };
        assert_eq!(member(ExchangeType::Direct, "a.*"), "a.*||q");
        // Told by kombu 5.7.0.
        for (words, pattern) in [
            ("a.*", r"^a\.[^\.]+$"),
            ("#.c-d", r"^.*?\.c\-d$"),
            ("a*.b_c.ü", r"^a*\.b\_c\.ü$"),
            ("", "^$"),
            ("a..b", r"^a\.\.b$"),
        ] {
            assert_eq!(member(ExchangeType::Topic, words), format!("{words}|{pattern}|q"));
        }
    }

    #[test]
    fn a_binding_is_read_as_kombu_writes_it() {
        let direct = Binding { key: "k".to_owned(), topic: false, queue: "q".to_owned() };
        assert_eq!(Binding::parse(b"k\x06\x16\x06\x16q", "\x06\x16"), Some(direct));
        let topic = Binding { key: "a.*".to_owned(), topic: true, queue: "q".to_owned() };
        assert_eq!(Binding::parse(b"a.*|^a\\.[^\\.]+$|q", "|"), Some(topic));
        assert_eq!(Binding::parse(b"k||", "|"), None);
        assert_eq!(Binding::parse(b"k", "|"), None);
    }
}
