//! `probe`: asks a worker whether it lives, is ready, has started.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::failure::Failure;
use crate::session::Session;

/// Where a worker is asked that the settings do not name.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// How long the answer may take, with everything before it.
const DEADLINE: Duration = Duration::from_secs(1);

/// The most that is read of an answer, in bytes.
const LONGEST_ANSWER: u64 = 64 * 1024;

const HELP: &str = "\
Exit codes: 0 yes, 1 no or no answer within a second, 2 wrong usage.

The worker must run with --metrics. This asks that address and nothing else: neither broker nor application.";

/// Ask a worker on this machine whether it lives, is ready or has started
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// live: its loop turns; ready: it takes tasks; startup: it has been ready once
    #[arg(value_enum, default_value_t, hide_possible_values = true, value_name = "live|ready|startup")]
    what: What,

    /// Where it serves metrics [default: worker_metrics_address of the settings, else 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum What {
    Live,
    #[default]
    Ready,
    Startup,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Startup => "startup",
        })
    }
}

pub(crate) fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let address = args.address.or(session.settings().worker_metrics_address).unwrap_or(ADDRESS);
    let address = reachable(address);
    let answer = ask(args.what, address, Instant::now() + DEADLINE);
    let answer = answer.map_err(|error| Failure::new(format!("no answer from {address}: {error}")))?;
    match judge(&answer) {
        Some((true, said)) => session.output.line(said),
        Some((false, said)) => Err(Failure::new(said)),
        None => Err(Failure::new(format!("what answers at {address} is no worker"))),
    }
}

/// Where a worker can be asked that listens there: on all addresses means also on the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The whole answer, in HTTP.
fn ask(what: What, address: SocketAddr, deadline: Instant) -> io::Result<String> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    write!(stream, "GET /{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            Ok(length) => answer.extend_from_slice(&part[..length]),
            // Systems tell of a timeout in two ways.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > LONGEST_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Whether the answer is yes, and what it says; `None` if it is none of ours.
fn judge(answer: &str) -> Option<(bool, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    match status {
        "200" => Some((true, body.trim_end())),
        "503" => Some((false, body.trim_end())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worker_is_believed() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\na: b\r\n\r\nready\n"), Some((true, "ready")));
        assert_eq!(judge("HTTP/1.1 503 Busy\r\n\r\nwhy\n"), Some((false, "why")));
        assert_eq!(judge("HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(judge("SSH-2.0"), None);
    }

    #[test]
    fn a_worker_that_listens_everywhere_is_asked_on_the_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(reached("[::]:9090"), "[::1]:9090");
        assert_eq!(reached("10.0.0.7:80"), "10.0.0.7:80");
    }

    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let deadline = Instant::now() + Duration::from_millis(50);
        let error = ask(What::Live, silent.local_addr().unwrap(), deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
