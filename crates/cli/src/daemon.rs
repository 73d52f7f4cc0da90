//! Where a worker runs: as whom, with which umask, and whether in the background.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use celeriac_worker::CommandLine;
use rustix::fs::Mode;
use rustix::process::{Gid, Uid, geteuid, getuid, setsid, umask};

use crate::failure::Failure;
use crate::pid_file;
use crate::unknown;
use crate::users::Identity;

/// Turns `-D` into a worker in the foreground, for whatever looks at it.
///
/// Source: `celery/bin/worker.py`, `C_FAKEFORK`, Celery 5.7.0.
const FAKE: &str = "C_FAKEFORK";

/// The variable of `-D` in Celery.
const DETACH: &str = "CELERY_WORKER_DETACH";

/// Options about the process of a worker.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Daemonization Options")]
#[group(id = "daemon")]
pub(crate) struct Options {
    /// Run in the background
    #[arg(short = 'D', long)]
    pub(crate) detach: bool,

    /// This process is in the background.
    #[arg(long, hide = true)]
    detached: bool,

    /// Write the number of the process to this file, and start only if that of no other worker is in it
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,

    /// Run as this user: a name or a number
    #[arg(long, value_name = "USER")]
    pub(crate) uid: Option<String>,

    /// Run as this group: a name or a number
    #[arg(long, value_name = "GROUP")]
    pub(crate) gid: Option<String>,

    /// What new files may not be: octal if it begins with 0
    #[arg(long, value_name = "UMASK", value_parser = mask)]
    pub(crate) umask: Option<u32>,
}

/// The files a worker in the background needs.
pub(crate) struct Files<'a> {
    pub(crate) log: Option<&'a PathBuf>,
    pub(crate) pid: Option<&'a PathBuf>,
}

impl Options {
    /// Whether the worker is to leave this process: as asked, by the environment too if it hosts an application.
    pub(crate) fn wants_background(&self, hosts_application: bool) -> bool {
        let by_environment = || hosts_application && std::env::var(DETACH).is_ok_and(|text| is_true(&text));
        let wanted = self.detach || by_environment();
        wanted && !self.detached && std::env::var_os(FAKE).is_none_or(|fake| fake.is_empty())
    }

    /// Becomes what the options say, before anything is started.
    pub(crate) fn apply(&self, hosts_application: bool) -> Result<(), Failure> {
        if self.detached {
            // It is refused to a process that has a session already.
            let _ = setsid();
        }
        if let Some(mask) = self.umask {
            umask(Mode::from_raw_mode(mask));
        }
        let of_environment = |name| std::env::var(name).ok().filter(|_| hosts_application);
        let user = self.uid.clone().or_else(|| of_environment("CELERY_WORKER_UID"));
        let group = self.gid.clone().or_else(|| of_environment("CELERY_WORKER_GID"));
        if user.is_none() && group.is_none() {
            return Ok(());
        }
        become_one(&Identity::named(user.as_deref(), group.as_deref())?)
    }

    /// Does the same with what the settings of an application say, as far as the command line has not said it.
    pub(crate) fn apply_settings(&self, command: &CommandLine) -> Result<(), Failure> {
        if let (None, Some(text)) = (self.umask, &command.umask) {
            let mask = mask(text).map_err(|why| Failure::new(format!("worker_umask is {text}: {why}")))?;
            umask(Mode::from_raw_mode(mask));
        }
        let is_someone_else = |user: &String| {
            let identity = Identity::named(Some(user), None);
            identity.is_ok_and(|identity| identity.user != Some(geteuid().as_raw()))
        };
        if getuid().is_root() && command.uid.as_ref().is_some_and(is_someone_else) {
            let text = "worker_uid in the settings of the application comes too late: it is loaded already";
            return Err(Failure::new(text).next("give --uid on the command line, or CELERY_WORKER_UID"));
        }
        Ok(())
    }
}

/// Starts the worker of these arguments in the background, and returns once it has been started: its errors are in its log.
///
/// Source: `celery/bin/worker.py`, `detach`, and `celery/platforms.py`, `detached`, Celery 5.7.0.
pub(crate) fn start_in_background(
    command: &clap::Command,
    arguments: &[OsString],
    files: &Files<'_>,
    err: &mut dyn std::io::Write,
) -> Result<(), Failure> {
    // There will be nobody to tell that these do not work.
    if let Some(log) = files.log {
        let opened = OpenOptions::new().create(true).append(true).open(log);
        opened.map_err(|error| {
            Failure::because(format!("the log file {} cannot be opened", log.display()), &error)
        })?;
    }
    files.pid.map_or(Ok(()), |path| pid_file::make_room(path, err))?;
    let program = std::env::current_exe().or_else(|_| fs::canonicalize("/proc/self/exe"));
    let program =
        program.map_err(|error| Failure::because("this program cannot be started again", &error))?;
    let kept = unknown::without_flag(command, arguments, 'D', "detach");
    let started = Command::new(program)
        .args(kept.iter().skip(1))
        .arg("--detached")
        .env_remove(DETACH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.map(drop).map_err(|error| Failure::because("the worker cannot be started", &error))
}

/// Gives up all other rights than those of this user and group.
fn become_one(identity: &Identity) -> Result<(), Failure> {
    let is_now = |user: u32| getuid().as_raw() == user && geteuid().as_raw() == user;
    if identity.user.is_some_and(is_now) {
        return Ok(());
    }
    // Another thread would keep its rights.
    if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(Failure::new("--uid and --gid come too late: this program has started threads already")
            .next("call celeriac::cli::run first, or start the program as the right user"));
    }
    change(identity).map_err(|error| {
        Failure::because("the user or the group of this process cannot be changed", &error)
            .next("only root may do that: leave out --uid and --gid, or start it as root")
    })?;
    if identity.user.is_some_and(|user| user != 0) && rustix::thread::set_thread_uid(Uid::ROOT).is_ok() {
        return Err(Failure::new("the rights of root could be taken back after they were given up"));
    }
    Ok(())
}

/// The group first: who is not root any more may not change it.
fn change(identity: &Identity) -> Result<(), rustix::io::Errno> {
    let groups: Vec<Gid> =
        identity.group.iter().chain(&identity.groups).copied().map(Gid::from_raw).collect();
    if identity.user.is_some() {
        #[cfg(target_os = "linux")]
        rustix::thread::set_thread_groups(&groups)?;
    }
    if let Some(group) = identity.group {
        rustix::thread::set_thread_gid(Gid::from_raw(group))?;
    }
    identity.user.map_or(Ok(()), |user| rustix::thread::set_thread_uid(Uid::from_raw(user)))
}

/// Source: `celery/platforms.py`, `DaemonContext.__init__`, Celery 5.7.0.
fn mask(text: &str) -> Result<u32, String> {
    let radix = if text.starts_with('0') { 8 } else { 10 };
    let mask = u32::from_str_radix(text, radix).ok().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| "write it as in the shell: 022".to_owned())
}

/// What a flag in the environment may be.
///
/// Source: `click.types.BoolParamType`, click 8.
fn is_true(text: &str) -> bool {
    ["1", "true", "t", "yes", "y", "on"].contains(&text.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_octal_where_they_look_so() {
        assert_eq!(mask("022"), Ok(0o022));
        assert_eq!(mask("18"), Ok(18));
        assert_eq!(mask("0"), Ok(0));
        assert!(mask("rw").is_err() && mask("01777").is_err());
    }

    #[test]
    fn flags_in_the_environment_are_those_of_click() {
        assert!(["1", "true", "ON", " yes "].iter().all(|text| is_true(text)));
        assert!(["", "0", "off", "detach"].iter().all(|text| !is_true(text)));
    }
}
