//! Where the scenarios keep their tasks: a private store, which goes when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::{Result, machine};

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A file in a temporary folder.
    Sqlite,
    /// A server of our own on a free port of the loopback, which keeps everything in memory.
    Redis,
}

impl Kind {
    /// Its name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
        }
    }
}

/// A fresh store.
pub(crate) struct Place {
    url: String,
    server: Option<Server>,
    _folder: TempDir,
}

impl Place {
    pub(crate) fn new(kind: Kind) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(match kind {
            Kind::Sqlite => {
                let url = format!("sqlite:///{}", folder.path().join("bench.db").display());
                Self { url, server: None, _folder: folder }
            }
            Kind::Redis => {
                let server = Server::start(folder.path())?;
                Self {
                    url: format!("redis://127.0.0.1:{}/0", server.port),
                    server: Some(server),
                    _folder: folder,
                }
            }
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Host and port of the server, where there is one.
    pub(crate) fn address(&self) -> Option<(&'static str, u16)> {
        self.server.as_ref().map(|server| ("127.0.0.1", server.port))
    }

    /// The processor time that the server has used, where there is one.
    pub(crate) fn server_seconds(&self) -> Result<Option<f64>> {
        let Some(server) = &self.server else { return Ok(None) };
        Ok(Some(machine::usage(server.child.id())?.cpu_seconds))
    }

    /// How many bytes the server has received, where there is one.
    pub(crate) fn server_received(&self) -> Result<Option<u64>> {
        if self.server.is_none() {
            return Ok(None);
        }
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let stats: redis::InfoDict = redis::cmd("INFO").arg("stats").query(&mut connection)?;
        Ok(stats.get("total_net_input_bytes"))
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &std::path::Path) -> Result<Self> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}"))?;
        let server = Self { child, port };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > until {
                return Err("redis-server does not listen".into());
            }
            std::thread::yield_now();
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
