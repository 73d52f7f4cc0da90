//! The names of workers, as patterns. Pure.

/// `pattern` with `%h` as the host, `%n` as its first part and `%d` as the rest; without an `@` it is the host part.
///
/// `%i` and `%I` are the number of a child in Celery, which the worker itself has not: `0` and nothing.
///
/// Source: `celery/utils/nodenames.py`, `default_nodename` and `host_format`, and `celery/utils/text.py`,
/// `simple_format`, Celery 5.7.0. There as here, any other letter after `%` is an error.
pub(crate) fn expanded(pattern: &str, host: &str) -> Result<String, String> {
    let (name, domain) = host.split_once('.').unwrap_or((host, ""));
    let mut expanded = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => expanded.push_str(match letters.next() {
                Some('h') => host,
                Some('n') => name,
                Some('d') => domain,
                Some('i') => "0",
                Some('I') => "",
                Some('%') => "%",
                Some(other) => return Err(format!("%{other} stands for nothing: {FORMATS}")),
                None => return Err(format!("a single % at the end: {FORMATS}")),
            }),
            letter if letter.is_whitespace() || letter.is_control() => {
                return Err("a name of a worker has no spaces".to_owned());
            }
            letter => expanded.push(letter),
        }
    }
    Ok(if pattern.contains('@') { expanded } else { format!("celery@{expanded}") })
}

const FORMATS: &str =
    "write %h for the host, %n for its first part, %d for its domain, %% for a percent sign";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_expanded_as_celery_does() {
        let host = "box.example.org";
        let cases = [
            ("celery@%h", "celery@box.example.org"),
            ("mails-%n@%d", "mails-box@example.org"),
            ("mails", "celery@mails"),
            ("a%%b@c", "a%b@c"),
            ("w%i%I@%h", "w0@box.example.org"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(expanded(pattern, host).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_node_name_that_means_nothing_is_refused_with_what_would() {
        let refused = |pattern| expanded(pattern, "box").unwrap_err();
        assert!(refused("bad%q").starts_with("%q stands for nothing: write %h for the host"));
        assert!(refused("50%").starts_with("a single % at the end"));
        for pattern in ["bad name", "tab\t@%h", "line\n"] {
            assert_eq!(refused(pattern), "a name of a worker has no spaces");
        }
    }
}
