//! What systemd is told of a service of `Type=notify`.
//!
//! Source: `sd_notify(3)`, systemd 257: datagrams of assignments, to the socket that `NOTIFY_SOCKET` names.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::Instant;

/// The service manager that has started the worker, and what it wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceManager {
    /// The socket: a path, or a name in the abstract namespace after `@`.
    pub socket: OsString,
    /// After how much silence it takes the worker to hang; it is told twice as often that it does not.
    pub watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that these variables of the environment name, for the process with this id.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use celeriac_worker::ServiceManager;
    ///
    /// let variables = |name: &str| match name {
    ///     "NOTIFY_SOCKET" => Some("/run/systemd/notify".into()),
    ///     "WATCHDOG_USEC" => Some("30000000".into()),
    ///     _ => None,
    /// };
    /// let manager = ServiceManager::named_by(variables, 1).unwrap();
    /// assert_eq!(manager.watchdog, Some(Duration::from_secs(30)));
    /// ```
    pub fn named_by(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Option<Self> {
        let socket = variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())?;
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // The watchdog of a parent process does not wait for us.
        let is_ours = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(pid.into());
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0);
        Some(Self { socket, watchdog: watchdog.map(Duration::from_micros) })
    }
}

/// Tells the service manager what has changed.
pub(super) struct Notifier {
    manager: ServiceManager,
    was_ready: bool,
    was_stopping: bool,
    alive_at: Option<Instant>,
}

impl Notifier {
    pub(super) fn new(manager: ServiceManager) -> Self {
        Self { manager, was_ready: false, was_stopping: false, alive_at: None }
    }

    /// Tells it what it does not know yet.
    pub(super) fn tell(&mut self, live: bool, ready: bool, stopping: bool, now: Instant) {
        let news = self.news(live, ready, stopping, now);
        if news.is_empty() {
            return;
        }
        if let Err(error) = send(&self.manager.socket, news.join("\n").as_bytes()) {
            tracing::warn!(%error, "the service manager cannot be told {news:?}");
        }
    }

    fn news(&mut self, live: bool, ready: bool, stopping: bool, now: Instant) -> Vec<&'static str> {
        let mut news = Vec::new();
        if ready && !self.was_ready {
            self.was_ready = true;
            news.push("READY=1");
        }
        if stopping && !self.was_stopping {
            self.was_stopping = true;
            news.push("STOPPING=1");
        }
        if let Some(watchdog) = self.manager.watchdog.filter(|_| live) {
            // A little before the half, because this is called at intervals.
            let due = self
                .alive_at
                .is_none_or(|at| now.saturating_duration_since(at) >= watchdog / 2 - watchdog / 8);
            if due {
                self.alive_at = Some(now);
                news.push("WATCHDOG=1");
            }
        }
        news
    }
}

fn send(socket: &OsStr, text: &[u8]) -> std::io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(text, &address(socket)?).map(drop)
}

fn address(socket: &OsStr) -> std::io::Result<SocketAddr> {
    match socket.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        _ => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> Option<ServiceManager> {
        let value = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.into());
        ServiceManager::named_by(value, 42)
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        assert_eq!(manager(&[("WATCHDOG_USEC", "1000000")]), None);
        let watchdog = |pid| {
            manager(&[("NOTIFY_SOCKET", "/s"), ("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", pid)])
                .unwrap()
                .watchdog
        };
        assert_eq!(watchdog("42"), Some(Duration::from_secs(1)));
        assert_eq!(watchdog("7"), None);
    }

    #[test]
    fn each_thing_is_told_once_and_life_twice_in_its_time() {
        let watchdog = Some(Duration::from_secs(10));
        let mut notifier = Notifier::new(ServiceManager { socket: "/s".into(), watchdog });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(notifier.news(true, false, false, at(0)), ["WATCHDOG=1"]);
        assert_eq!(notifier.news(true, true, false, at(1)), ["READY=1"]);
        assert_eq!(notifier.news(true, false, false, at(3)), [""; 0]);
        assert_eq!(notifier.news(true, true, false, at(5)), ["WATCHDOG=1"]);
        assert_eq!(
            notifier.news(false, false, true, at(30)),
            ["STOPPING=1"],
            "a loop that hangs is not said to live"
        );
        assert_eq!(notifier.news(true, false, true, at(31)), ["WATCHDOG=1"]);
    }

    #[test]
    fn what_is_sent_arrives_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("@celeriac-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&address(name.as_ref()).unwrap()).unwrap();
        for (receiver, socket) in [(by_path, path.as_os_str()), (by_name, name.as_ref())] {
            send(socket, b"READY=1").unwrap();
            let mut bytes = [0; 16];
            let length = receiver.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        }
    }
}
