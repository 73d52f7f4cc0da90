//! A private Redis server.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// On how many ports a server is tried.
const PORTS_TRIED: u32 = 10;

/// A server on a free port of the loopback, with a folder of its own; both go when this is dropped.
pub struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::with(&["--save", ""])
    }

    /// As [`Server::start`], with everything on the disk before it is answered.
    pub fn durable() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    /// As [`Server::start`], with these arguments; `FOLDER` in them is the server's own.
    pub fn with(arguments: &[&str]) -> Self {
        // Another process may take a port between the look and the start.
        let mut tries = (0..PORTS_TRIED).map(|_| Self::try_on(free_port(), arguments, |_| {}));
        tries.find_map(|server| server).expect("redis-server starts with these arguments")
    }

    /// As [`Server::with`], on this port, after `prepare` has put into its folder what it needs.
    pub fn on(port: u16, arguments: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::try_on(port, arguments, prepare).expect("redis-server starts, and the port is free")
    }

    fn try_on(port: u16, arguments: &[&str], prepare: impl FnOnce(&Path)) -> Option<Self> {
        let folder = tempfile::tempdir().expect("tests can write to the temporary folder");
        prepare(folder.path());
        let path = folder.path().to_str().unwrap();
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace("FOLDER", path)).collect();
        let child = spawn(port, folder.path(), &arguments)?;
        Some(Self { child, port, arguments, folder })
    }

    /// Where this database is.
    pub fn url(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A path in the server's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A connection of a test's own.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url(0)).unwrap().get_connection().unwrap()
    }

    /// Changes the password of the default user, and ends the connections of all who have signed in with the old one, as a
    /// server that starts again does.
    pub fn change_password(&self, old: &str, new: &str) {
        let client = redis::Client::open(format!("redis://:{old}@127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("CONFIG").arg(&["SET", "requirepass", new]).exec(&mut connection).unwrap();
        for kind in ["normal", "pubsub"] {
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]).exec(&mut connection).unwrap();
        }
    }

    /// Ends the server as the machine's end would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the server again after [`Server::kill`], with what is on its disk.
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, self.folder.path(), &self.arguments).expect("it has started before");
    }

    /// The server does nothing until [`Server::go_on`]; its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends a pause.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on, another for each who asks: two servers on one port would be one server to two tests.
pub fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    // Below those that the system gives to outgoing connections.
    const PORTS: std::ops::Range<u32> = 10_000..30_000;
    let size = PORTS.end - PORTS.start;
    loop {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + std::process::id().wrapping_mul(197).wrapping_add(asked) % size;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts `redis-server` and waits until it has read its data and answers; nothing if it ends instead, because somebody else
/// has the port.
fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Option<Child> {
    // Written by this server once it listens; that somebody does could be another one.
    let listens = folder.join("listens.pid");
    let _ = std::fs::remove_file(&listens);
    let mut child = Command::new("redis-server")
        // A file of settings comes before the options.
        .args(arguments.iter().filter(|argument| argument.ends_with(".conf")))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
        .arg("--dir")
        .arg(folder)
        .arg("--pidfile")
        .arg(&listens)
        .args(arguments.iter().filter(|argument| !argument.ends_with(".conf")))
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server can be started: install the package redis-server");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !listens.exists() {
        if child.try_wait().expect("it was started here").is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "redis-server does not listen");
        nap();
    }
    while reads_its_data(port) {
        assert!(Instant::now() < deadline, "redis-server does not answer");
        nap();
    }
    Some(child)
}

/// Leaves the processor to the server.
#[expect(clippy::disallowed_methods, reason = "a server that starts tells nobody when it is there")]
fn nap() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Whether the server answers that it still reads its data, or not yet at all. Any other answer, also to somebody who is not
/// signed in, comes from one that is there; one that only speaks TLS has nothing to read.
fn reads_its_data(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer)?;
        Ok(answer[..length].starts_with(b"-LOADING"))
    };
    match ask() {
        Ok(reads) => reads,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_a_port_that_is_taken_is_nobodys_server() {
        let first = Server::start();
        assert!(Server::try_on(first.port(), &["--save", ""], |_| {}).is_none());
    }
}
