//! Making a connection: from a place to a server that has let us in.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::failure::translate;
use super::pulse::{Heard, Pulse};
use super::sentinel;
use super::target::{Address, Place, Target};
use super::tls::Tls;
use crate::{Error, Result};

/// The system gives up a connection on which the other side has acknowledged nothing for this long.
#[cfg(target_os = "linux")]
const SILENCE: Duration = Duration::from_secs(10);
/// An idle connection is probed this often.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// A connection, for any number of askers. It ends when its last clone is dropped.
#[derive(Clone)]
pub(super) struct Connection {
    asking: MultiplexedConnection,
    pulse: Arc<Pulse>,
    driver: Arc<Driver>,
}

impl Connection {
    /// When the server last gave a sign of life on it.
    pub(super) fn last_heard(&self) -> Instant {
        self.pulse.last()
    }

    /// Whether the other side has not closed it, as far as is known: what is asked then is sent.
    pub(super) fn is_open(&self) -> bool {
        !self.driver.0.is_finished()
    }
}

/// What reads and writes for a connection. It may wait for ever for a silent server, so it is ended.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.asking
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.asking
    }
}

/// Connects, on the thread that drives connections, within half of the caller's deadline: the other half leaves the
/// time to say why it is not connected.
pub(super) async fn connect(
    target: &Arc<Target>,
    io: &Handle,
    config: AsyncConnectionConfig,
    deadline: Duration,
) -> Result<Connection> {
    let budget = deadline / 2;
    let there = Arc::clone(target);
    let connecting = io.spawn(async move {
        let operation = if there.tls().is_some() { "connect with TLS" } else { "connect" };
        let late = || Error::Timeout { operation, url: there.url().to_owned(), after: budget };
        timeout(budget, reach(&there, config, budget)).await.unwrap_or_else(|_| Err(late()))
    });
    connecting.await.unwrap_or(Err(Error::Closed))
}

async fn reach(target: &Target, config: AsyncConnectionConfig, budget: Duration) -> Result<Connection> {
    let config = config.set_connection_timeout(None).set_response_timeout(None);
    match target.place() {
        Place::Server(address) => {
            sign_in(target, address, target.tls(), target.login(), config, budget).await
        }
        Place::Sentinels(sentinels) => {
            let primary = sentinel::find_primary(target, sentinels, budget / 2).await?;
            let connection =
                sign_in(target, &primary, target.tls(), target.login(), config, budget / 2).await?;
            sentinel::check_role(target, &primary, connection).await
        }
    }
}

/// A connection to the server at this address, signed in. The caller waits no longer than `budget`.
pub(super) async fn sign_in(
    target: &Target,
    address: &Address,
    tls: Option<&Tls>,
    login: &RedisConnectionInfo,
    config: AsyncConnectionConfig,
    budget: Duration,
) -> Result<Connection> {
    match address {
        Address::Socket(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| target.unreachable(&error))?;
            over(target, stream, login, config).await
        }
        Address::Tcp(host, port) => {
            let stream = tcp(host, *port).await.map_err(|error| target.unreachable(&error))?;
            match tls {
                None => over(target, stream, login, config).await,
                Some(tls) => {
                    let stream = tls.shake_hands(target, host, stream, budget).await?;
                    over(target, stream, login, config).await.map_err(|error| refused_by_tls(target, error))
                }
            }
        }
    }
}

/// A server says only after the handshake that it does not take us.
fn refused_by_tls(target: &Target, error: Error) -> Error {
    match error {
        Error::Unreachable { reason, .. } if reason.contains("fatal alert") => target.misconfigured(format!(
            "the server does not take us ({reason}); ssl_certfile and ssl_keyfile name the certificate to show"
        )),
        error => error,
    }
}

async fn over(
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    login: &RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> Result<Connection> {
    let (stream, pulse) = Heard::new(stream);
    let signing_in = MultiplexedConnection::new_with_config(login, stream, config);
    let (asking, driver) = signing_in.await.map_err(|error| translate(&error, target))?;
    Ok(Connection { asking, pulse, driver: Arc::new(Driver(tokio::spawn(driver))) })
}

/// A connection to the first address of the host that takes it. Each has its share of the time.
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    const EACH: Duration = Duration::from_secs(1);
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for (at, address) in addresses.iter().enumerate() {
        let is_last = at + 1 == addresses.len();
        let connecting = TcpStream::connect(address);
        // The caller's time is that of the last.
        let connected = if is_last { Ok(connecting.await) } else { timeout(EACH, connecting).await };
        match connected {
            Ok(Ok(stream)) => return prepared(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// No waiting for more to send, and dead connections end.
fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(PROBE_EVERY).with_interval(PROBE_EVERY).with_retries(2);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    Ok(stream)
}
