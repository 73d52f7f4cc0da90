//! A TCP proxy that does to connections what networks do.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// A proxy before one server, on a thread of its own; it ends when this is dropped.
pub struct Proxy {
    orders: watch::Sender<Orders>,
    connections: Arc<AtomicU64>,
    port: u16,
}

impl Proxy {
    /// Starts a proxy before the server at this port.
    pub fn before(server: u16) -> Self {
        let orders = Orders { weather: Weather::Fair, before: 0, ending: Ending::Close, ended: 0 };
        let (orders, obeyed) = watch::channel(orders);
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let server = (Ipv4Addr::LOCALHOST, server).into();
            local.block_on(&runtime, serve(listener, server, obeyed, counted));
        });
        Self { orders, connections, port }
    }

    /// Where the server seems to be.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Changes the weather.
    pub fn weather(&self, weather: Weather) {
        let before = self.connections();
        self.orders.send_modify(|orders| {
            orders.weather = weather;
            orders.before = before;
        });
    }

    /// Ends the connections that there are.
    pub fn end(&self, ending: Ending) {
        let ended = self.connections();
        self.orders.send_modify(|orders| {
            orders.ending = ending;
            orders.ended = ended;
        });
    }
}

async fn serve(
    listener: std::net::TcpListener,
    server: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    connections: Arc<AtomicU64>,
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
        let number = connections.fetch_add(1, Ordering::SeqCst);
        tokio::task::spawn_local(carry(client, server, number, orders.clone()));
    }
}

/// Carries what both sides say until one of them or an order ends it.
async fn carry(mut client: TcpStream, server: SocketAddr, number: u64, mut orders: watch::Receiver<Orders>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    // What was swallowed never comes again: a connection that lost some stays silent.
    let silent = Cell::new(false);
    let reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (up, down) = (orders.clone(), orders.clone());
        tokio::select! {
            ended = pump(from_client, to_server, number, false, &silent, up) => ended.is_err(),
            ended = pump(from_server, to_client, number, true, &silent, down) => ended.is_err(),
            ended = orders.wait_for(|orders| orders.ended > number) => ended.is_err(),
        }
    };
    let ending = orders.borrow().ending;
    if reset || ending == Ending::Reset {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    } else if ending == Ending::HalfClose && orders.borrow().ended > number {
        let _ = client.shutdown().await;
        let mut swallowed = [0; 4096];
        while matches!(client.read(&mut swallowed).await, Ok(1..)) {}
    }
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
