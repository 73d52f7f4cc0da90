//! Keeps passwords out of the process title: what `ps` and `/proc/PID/cmdline` show to everybody on the machine.
//!
//! A program whose arguments hold a URL with a password starts itself again at once, as the same process: with `***` in
//! place of the password, and with its true arguments in a file in memory, which nobody but its user can open and which
//! is emptied when they are read. The environment would do as well for strangers, but what tasks start inherits it, and
//! may print it.
//!
//! A password stays visible for the milliseconds until then. Children of a worker never show it: they are started with
//! the arguments that the worker shows, and are told the settings.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;

use celeriac_store::without_password;

/// The arguments of this process, the true ones. Does not return where they have to be hidden first.
///
/// Where that is not possible (on systems other than Linux, or without `/proc`), they stay as they are.
pub(crate) fn hidden_arguments() -> Vec<OsString> {
    if let Some(arguments) = handover::take() {
        return arguments;
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let shown = arguments.iter().map(|argument| fit_for_all(argument)).collect::<Vec<_>>();
    if shown != arguments {
        let Err::<Infallible, io::Error>(error) = handover::start_again(&arguments, &shown);
        eprintln!("note: other users of this machine can see the password in the arguments: {error}");
    }
    arguments
}

/// Starts this program again with these arguments, as the same process. Returns only if that fails.
pub(crate) fn start_again(arguments: &[OsString]) -> io::Error {
    let shown = arguments.iter().map(|argument| fit_for_all(argument)).collect::<Vec<_>>();
    let Err::<Infallible, io::Error>(error) = handover::start_again(arguments, &shown);
    error
}

fn fit_for_all(argument: &OsStr) -> OsString {
    let text = argument.to_string_lossy();
    let shown = without_passwords(&text);
    if shown == text { argument.to_owned() } else { shown.into() }
}

/// The text with `***` in place of each password of a URL, wherever it stands: `-bURL`, `--broker=URL`, in JSON.
pub(crate) fn without_passwords(text: &str) -> String {
    if !text.contains("://") {
        return text.to_owned();
    }
    let shown = without_password(text);
    match shown.split_once("://") {
        Some((start, rest)) if rest.contains("://") => format!("{start}://{}", without_passwords(rest)),
        _ => shown,
    }
}

/// How the arguments get over the new start.
#[cfg(target_os = "linux")]
mod handover {
    use std::convert::Infallible;
    use std::ffi::{OsStr, OsString};
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use rustix::fs::{MemfdFlags, memfd_create};

    /// `PID:DESCRIPTOR`: the process, which keeps its number, and the open file with its arguments. What a task starts
    /// inherits the variable and has another number.
    const VARIABLE: &str = "CELERIAC_ARGUMENTS_OF";

    /// What the system calls such a file, so that no other one is emptied.
    const NAME: &str = "celeriac-arguments";

    /// Starts this program again with the arguments `shown`. Returns only if that fails.
    pub(super) fn start_again(arguments: &[OsString], shown: &[OsString]) -> io::Result<Infallible> {
        // Inherited over the new start. It stays open there, because closing a descriptor by its number is unsafe.
        let mut file = File::from(memfd_create(NAME, MemfdFlags::empty())?);
        for argument in arguments {
            file.write_all(argument.as_bytes())?;
            file.write_all(&[0])?;
        }
        let descriptor = file.as_raw_fd().to_string();
        // So that it is sure to be found.
        drop(open(&descriptor)?);
        let program = std::env::current_exe().ok().filter(|path| path.exists());
        let mut again = Command::new(program.unwrap_or_else(|| "/proc/self/exe".into()));
        if let [name, shown @ ..] = shown {
            again.arg0(name).args(shown);
        }
        Err(again.env(VARIABLE, format!("{}:{descriptor}", std::process::id())).exec())
    }

    /// The arguments that were handed over to this process, the first time it asks.
    pub(super) fn take() -> Option<Vec<OsString>> {
        let variable = std::env::var(VARIABLE).ok()?;
        let (process, descriptor) = variable.split_once(':')?;
        if process.parse() != Ok(std::process::id()) {
            return None;
        }
        let mut file = open(descriptor).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        file.set_len(0).ok()?;
        let argument = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let arguments: Vec<OsString> =
            bytes.strip_suffix(&[0])?.split(|byte| *byte == 0).map(argument).collect();
        Some(arguments)
    }

    /// Opens the file anew, at its start.
    fn open(descriptor: &str) -> io::Result<File> {
        let path = format!("/proc/self/fd/{}", descriptor.parse::<u32>().map_err(io::Error::other)?);
        let name = fs::read_link(&path)?.into_os_string().into_vec();
        if !name.starts_with(format!("/memfd:{NAME}").as_bytes()) {
            return Err(io::Error::other("another file"));
        }
        OpenOptions::new().read(true).write(true).open(path)
    }
}

/// How the arguments get over the new start: not at all.
#[cfg(not(target_os = "linux"))]
mod handover {
    use std::convert::Infallible;
    use std::ffi::OsString;
    use std::io;

    pub(super) fn start_again(_arguments: &[OsString], _shown: &[OsString]) -> io::Result<Infallible> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn take() -> Option<Vec<OsString>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_wherever_its_url_stands() {
        for (argument, shown) in [
            ("-bredis://:secret@host/0", "-bredis://:***@host/0"),
            ("--broker=redis://me:a/b@c@host", "--broker=redis://me:***@host"),
            (r#"["sqlite:///a.db", "redis://:secret@host"]"#, r#"["sqlite:///a.db", "redis:***@host"]"#),
            ("sqlite:///a.db", "sqlite:///a.db"),
            ("a:b@host", "a:b@host"),
        ] {
            assert_eq!(fit_for_all(OsStr::new(argument)), shown);
        }
    }
}
