//! The file that says which process a worker is, and keeps a second one from starting.
//!
//! Source: `celery/platforms.py`, `Pidfile` and `create_pidlock`, Celery 5.7.0, whose rules these are.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::failure::Failure;

/// The exit code where the file names a worker that is alive.
///
/// Source: `EX_CANTCREAT`, sysexits.h(3head).
const CANNOT_CREATE: u8 = 73;

/// A file with the number of this process. It goes when this is dropped, unless another process has written its own.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it. A file whose process is gone, and one that holds no number, are replaced; what that was goes to `err`.
    pub(crate) fn take(path: &Path, err: &mut dyn io::Write) -> Result<Self, Failure> {
        make_room(path, err)?;
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
            writeln!(file, "{}", std::process::id())?;
            file.sync_all()
        };
        write().map_err(|error| {
            Failure::because(format!("the pid file {} cannot be written", path.display()), &error)
        })?;
        // The worker may go elsewhere.
        Ok(Self(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if matches!(read(&self.0), Ok(Some(pid)) if pid == std::process::id()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Removes a file that stands for nobody.
///
/// # Errors
/// If it stands for a process that is alive.
pub(crate) fn make_room(path: &Path, err: &mut dyn io::Write) -> Result<(), Failure> {
    let said = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) | Ok(None) => "Broken pidfile found - Removing it.",
        // Common in containers, where every worker may have the same number.
        Ok(Some(pid)) if pid == std::process::id() => "",
        Ok(Some(pid)) if is_alive(pid) => {
            let text = format!("Pidfile ({}) already exists", path.display());
            let seems = format!("Seems we're already running? (pid: {pid})");
            return Err(Failure::new(text).cause(seems).exits_with(CANNOT_CREATE));
        }
        Ok(Some(_)) => "Stale pidfile exists - Removing it.",
    };
    if !said.is_empty() {
        let _ = writeln!(err, "{said}");
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::because(
            format!("the pid file {} stands for no process and cannot be removed", path.display()),
            &error,
        )),
        _ => Ok(()),
    }
}

/// The number in the file; none where there is not one number on a line of its own.
fn read(path: &Path) -> io::Result<Option<u32>> {
    let text = fs::read_to_string(path)?;
    let line = text.split_inclusive('\n').next().filter(|line| line.ends_with('\n'));
    Ok(line.and_then(|line| line.trim().parse().ok()))
}

/// Whether there is such a process. One of another user counts as gone, as it does in Celery.
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH | Errno::PERM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(content: Option<&str>) -> (Result<(), String>, String, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pid");
        content.into_iter().for_each(|text| fs::write(&path, text).unwrap());
        let mut err = Vec::new();
        let file = PidFile::take(&path, &mut err);
        let written = fs::read_to_string(&path).ok();
        let ended = file.map(drop).map_err(|failure| failure.to_string());
        assert_eq!(path.exists(), ended.is_err(), "it goes with its worker only");
        (ended, String::from_utf8(err).unwrap(), written)
    }

    #[test]
    fn it_has_the_number_of_its_process_and_goes_with_it() {
        let mine = Some(format!("{}\n", std::process::id()));
        assert_eq!(taken(None), (Ok(()), String::new(), mine.clone()));
        let own = format!("{}\n", std::process::id());
        assert_eq!(taken(Some(&own)), (Ok(()), String::new(), mine));
    }

    #[test]
    fn what_stands_for_nobody_is_replaced() {
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let (ended, said, _) = taken(Some(&format!("{}\n", gone.id())));
        assert_eq!((ended, said.as_str()), (Ok(()), "Stale pidfile exists - Removing it.\n"));
        for broken in ["", "12", "x\n"] {
            let (ended, said, _) = taken(Some(broken));
            assert_eq!(
                (ended, said.as_str()),
                (Ok(()), "Broken pidfile found - Removing it.\n"),
                "{broken:?}"
            );
        }
    }

    #[test]
    fn what_stands_for_a_process_is_left_to_it() {
        let mut lives = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let content = format!("{}\n", lives.id());
        let (ended, _, written) = taken(Some(&content));
        lives.kill().unwrap();
        lives.wait().unwrap();
        let said = ended.unwrap_err();
        assert!(said.contains("already exists\n  cause: Seems we're already running? (pid: "), "{said}");
        assert_eq!(written, Some(content));
    }
}
