//! A TCP proxy that does to connections what networks do.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    /// Everything passes.
    Fair,
    /// What passes on the connections that there are comes this much later, also after one side has left.
    Slow(Duration),
    /// Connections stay open, new ones are taken, and whatever is sent disappears, both ways.
    BlackHole,
    /// As [`Weather::BlackHole`], for the connection of this number alone, counted from 0.
    HoleAt(u64),
    /// After so many more bytes of answers, each of the connections that there are is reset.
    AnswersEnd(u64),
    /// Who connects is sent away.
    Refusing,
}

/// How connections end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// In order, both sides.
    Close,
    /// By RST.
    Reset,
    /// The server says no more, and hears nobody; the client may go on talking.
    HalfClose,
}

#[derive(Clone, Copy)]
struct Orders {
    weather: Weather,
    /// How many connections there were before this weather.
    before: u64,
    ending: Ending,
    /// Connections of a lower number end.
    ended: u64,
}

/// How long the proxy may take to obey.
const SOON: Duration = Duration::from_secs(20);

/// The connections that clients made, numbered from 0.
#[derive(Default)]
struct Connections {
    made: u64,
    /// What still carries something.
    open: BTreeSet<u64>,
}

/// The connections, and the news that one of them has ended.
#[derive(Default)]
struct Ledger(Mutex<Connections>, Condvar);

impl Ledger {
    fn begin(&self) -> u64 {
        let mut connections = self.0.lock().unwrap();
        let number = connections.made;
        connections.made += 1;
        connections.open.insert(number);
        number
    }

    fn end(&self, number: u64) {
        self.0.lock().unwrap().open.remove(&number);
        self.1.notify_all();
    }

    fn made(&self) -> u64 {
        self.0.lock().unwrap().made
    }

    /// Waits until each of the connections before this number has ended.
    fn wait_for_end_of(&self, ended: u64) {
        let connections = self.0.lock().unwrap();
        let carry = |connections: &mut Connections| connections.open.range(..ended).next().is_some();
        let waited = self.1.wait_timeout_while(connections, SOON, carry).unwrap().1;
        assert!(!waited.timed_out(), "the proxy does not end its connections");
    }
}

/// A proxy before one server, on a thread of its own; it ends when this is dropped.
pub struct Proxy {
    orders: watch::Sender<Orders>,
    ledger: Arc<Ledger>,
    port: u16,
}

impl Proxy {
    /// Starts a proxy before the server at this port.
    pub fn before(server: u16) -> Self {
        let orders = Orders { weather: Weather::Fair, before: 0, ending: Ending::Close, ended: 0 };
        let (orders, obeyed) = watch::channel(orders);
        let ledger = Arc::new(Ledger::default());
        let kept = Arc::clone(&ledger);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let server = (Ipv4Addr::LOCALHOST, server).into();
            local.block_on(&runtime, serve(listener, server, obeyed, kept));
        });
        Self { orders, ledger, port }
    }

    /// Where the server seems to be.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.ledger.made()
    }

    /// Changes the weather.
    pub fn weather(&self, weather: Weather) {
        let before = self.connections();
        self.orders.send_modify(|orders| {
            orders.weather = weather;
            orders.before = before;
        });
    }

    /// Ends the connections that there are; nothing passes on them once this has returned.
    pub fn end(&self, ending: Ending) {
        let ended = self.connections();
        self.orders.send_modify(|orders| {
            orders.ending = ending;
            orders.ended = ended;
        });
        self.ledger.wait_for_end_of(ended);
    }
}

async fn serve(
    listener: std::net::TcpListener,
    server: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    ledger: Arc<Ledger>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(_) => continue,
            },
            // The proxy was dropped; its connections end with this runtime.
            gone = async { while orders.changed().await.is_ok() {} } => return gone,
        };
        if orders.borrow().weather == Weather::Refusing {
            continue;
        }
        let number = ledger.begin();
        let (ledger, orders) = (Arc::clone(&ledger), orders.clone());
        tokio::task::spawn_local(async move {
            let half_closed = carry(client, server, number, orders).await;
            ledger.end(number);
            if let Some(mut client) = half_closed {
                let mut swallowed = [0; 4096];
                while matches!(client.read(&mut swallowed).await, Ok(1..)) {}
            }
        });
    }
}

/// Carries what both sides say until one of them or an order ends it. Returns a client that may go on talking.
async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    number: u64,
    mut orders: watch::Receiver<Orders>,
) -> Option<TcpStream> {
    let mut server = tokio::select! {
        biased;
        _ = orders.wait_for(|orders| orders.ended > number) => return None,
        connected = TcpStream::connect(server) => connected.ok()?,
    };
    // What was swallowed never comes again: a connection that lost some stays silent.
    let silent = Cell::new(false);
    let reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (up, down) = (orders.clone(), orders.clone());
        tokio::select! {
            biased;
            ended = orders.wait_for(|orders| orders.ended > number) => ended.is_err(),
            ended = pump(from_client, to_server, number, false, &silent, up) => ended.is_err(),
            ended = pump(from_server, to_client, number, true, &silent, down) => ended.is_err(),
        }
    };
    let ending = orders.borrow().ending;
    if reset || ending == Ending::Reset {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    } else if ending == Ending::HalfClose && orders.borrow().ended > number {
        let _ = client.shutdown().await;
        return Some(client);
    }
    None
}

/// Carries one direction. An error asks for a reset.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    number: u64,
    answers: bool,
    silent: &Cell<bool>,
    mut orders: watch::Receiver<Orders>,
) -> io::Result<()> {
    let mut chunk = [0; 16384];
    let mut carried = 0;
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        if orders.has_changed().unwrap_or(true) {
            carried = 0;
        }
        let Orders { weather, before, .. } = *orders.borrow_and_update();
        let hole = weather == Weather::BlackHole || weather == Weather::HoleAt(number);
        silent.set(silent.get() || hole);
        match weather {
            _ if silent.get() => {}
            Weather::Slow(delay) if number < before => {
                tokio::time::sleep(delay).await;
                to.write_all(&chunk[..read]).await?;
            }
            Weather::AnswersEnd(limit) if answers && number < before => {
                let left = usize::try_from(limit.saturating_sub(carried)).unwrap_or(usize::MAX);
                to.write_all(&chunk[..read.min(left)]).await?;
                carried += read as u64;
                if carried >= limit {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
            _ => to.write_all(&chunk[..read]).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn an_order_to_end_connections_has_been_obeyed_when_it_returns() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::before(listener.local_addr().unwrap().port());
        for ending in [Ending::Close, Ending::Reset, Ending::HalfClose] {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
            client.write_all(b"x").unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.read_exact(&mut [0]).unwrap();
            client.set_read_timeout(Some(SOON)).unwrap();
            proxy.end(ending);
            assert!(proxy.ledger.0.lock().unwrap().open.is_empty(), "{ending:?}");
            match client.read(&mut [0]) {
                Ok(read) => assert!(read == 0 && ending != Ending::Reset, "{ending:?}"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{ending:?}"),
            }
        }
    }
}
