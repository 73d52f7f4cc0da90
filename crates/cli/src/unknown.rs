//! What stands on the command line of a worker and is none of its options: options that a Celery application adds, and settings
//! such as `worker.prefetch_multiplier=1`. Pure.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// The arguments without what `command` does not know, and that, both in their order.
///
/// An unknown option may take a value, and nobody here knows whether it does. So what follows it and is no known option is
/// unknown too: the application takes it as the one or the other.
pub(crate) fn split(command: &Command, args: &[OsString]) -> (Vec<OsString>, Vec<String>) {
    let Some(worker) = command.find_subcommand("worker") else { return (args.to_vec(), Vec::new()) };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut rest = args.iter();
    known.extend(rest.next().cloned());
    let mut in_worker = false;
    while let Some(arg) = rest.next() {
        let text = arg.to_string_lossy();
        let places: &[&Command] = if in_worker { &[command, worker] } else { &[command] };
        match kind(places, &text) {
            Kind::Plain if in_worker => unknown.push(text.into_owned()),
            Kind::Plain => {
                known.push(arg.clone());
                if arg != OsStr::new("worker") {
                    known.extend(rest.cloned());
                    break;
                }
                in_worker = true;
            }
            Kind::Known { takes_next } => {
                known.push(arg.clone());
                known.extend(takes_next.then(|| rest.next().cloned()).flatten());
            }
            Kind::Unknown if in_worker => unknown.push(text.into_owned()),
            Kind::Unknown => known.push(arg.clone()),
        }
    }
    (known, unknown)
}

/// The arguments of a worker without a flag, wherever it stands: `--detach`, `-D`, `-ED`.
pub(crate) fn without_flag(command: &Command, args: &[OsString], short: char, long: &str) -> Vec<OsString> {
    let worker = command.find_subcommand("worker").unwrap_or(command);
    let mut kept = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let text = arg.to_string_lossy();
        if text.strip_prefix("--") == Some(long) {
            continue;
        }
        let is_cluster = text.starts_with('-') && !text.starts_with("--");
        match kind(&[command, worker], &text) {
            Kind::Known { takes_next } if is_cluster => {
                let letters = without_letter(&[command, worker], &text[1..], short);
                kept.extend((!letters.is_empty()).then(|| format!("-{letters}").into()));
                kept.extend(takes_next.then(|| rest.next().cloned()).flatten());
            }
            Kind::Known { takes_next } => {
                kept.push(arg.clone());
                kept.extend(takes_next.then(|| rest.next().cloned()).flatten());
            }
            Kind::Plain | Kind::Unknown => kept.push(arg.clone()),
        }
    }
    kept
}

/// Flags without one of them, up to the letter of an option whose value comes next.
fn without_letter(places: &[&Command], letters: &str, unwanted: char) -> String {
    let mut kept = String::new();
    for (place, letter) in letters.char_indices() {
        if option(places, |arg| arg.get_short() == Some(letter)).is_some_and(takes_value) {
            kept.push_str(&letters[place..]);
            break;
        }
        kept.extend((letter != unwanted).then_some(letter));
    }
    kept
}

/// What an argument is.
#[derive(Debug, PartialEq)]
enum Kind {
    /// No option.
    Plain,
    Known {
        takes_next: bool,
    },
    Unknown,
}

fn kind(places: &[&Command], text: &str) -> Kind {
    if let Some(long) = text.strip_prefix("--") {
        let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        return match option(places, |arg| is_called(arg, name)) {
            _ if ["help", "version"].contains(&name) => Kind::Known { takes_next: false },
            Some(arg) => Kind::Known { takes_next: takes_value(arg) && !has_value },
            None => Kind::Unknown,
        };
    }
    let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
        return Kind::Plain;
    };
    for (place, letter) in letters.char_indices() {
        let is_last = place + letter.len_utf8() == letters.len();
        match option(places, |arg| arg.get_short() == Some(letter)) {
            _ if ['h', 'V'].contains(&letter) => {}
            Some(arg) if takes_value(arg) => return Kind::Known { takes_next: is_last },
            Some(_) => {}
            None => return Kind::Unknown,
        }
    }
    Kind::Known { takes_next: false }
}

fn option<'a>(places: &[&'a Command], is_it: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
    places.iter().flat_map(|command| command.get_arguments()).find(|arg| is_it(arg))
}

fn is_called(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(line: &str) -> (String, String) {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let (known, unknown) = split(&crate::args::command("urls", "urls"), &args);
        let known: Vec<_> = known.into_iter().map(|arg| arg.into_string().unwrap()).collect();
        (known.join(" "), unknown.join(" "))
    }

    #[test]
    fn what_an_application_adds_is_told_from_what_is_known() {
        let cases = [
            ("urls -A proj worker -c 2", "urls -A proj worker -c 2", ""),
            ("urls worker --tenant red -c 2 -A proj", "urls worker -c 2 -A proj", "--tenant red"),
            (
                "urls worker -Z -lINFO --json-logs --tenant=red",
                "urls worker -lINFO --json-logs",
                "-Z --tenant=red",
            ),
            (
                "urls worker worker.prefetch_multiplier=1 -n a@%h",
                "urls worker -n a@%h",
                "worker.prefetch_multiplier=1",
            ),
            ("urls worker -EBZ", "urls worker", "-EBZ"),
            ("urls worker --time-limit -1 --schedule x", "urls worker --time-limit -1 --schedule x", ""),
        ];
        for (line, known, unknown) in cases {
            assert_eq!(splits(line), (known.to_owned(), unknown.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_flag_is_taken_out_wherever_it_stands() {
        for (line, kept) in [
            ("urls worker -D -c 2", "urls worker -c 2"),
            ("urls worker --detach -n -D", "urls worker -n -D"),
            ("urls worker -EDB -DlINFO -fD.log", "urls worker -EB -lINFO -fD.log"),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let left = without_flag(&crate::args::command("urls", "urls"), &args, 'D', "detach");
            assert_eq!(left.join(OsStr::new(" ")), OsString::from(kept));
        }
    }

    #[test]
    fn other_commands_are_left_alone() {
        for line in ["urls call t --tenant red", "urls --tenant queues", "urls"] {
            assert_eq!(splits(line), (line.to_owned(), String::new()));
        }
    }
}
