//! The same scenarios on other systems: programs in their own languages, below `benches/peers`, on a private Redis.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::place::{Kind, Place};
use crate::report::Figure;

/// Names the folder where `cargo xtask bench --peers` has installed the peers.
pub(crate) const FOLDER: &str = "CELERIAC_BENCH_PEERS";

/// What every peer is measured at.
const SCENARIOS: [&str; 6] = ["send-single", "send-bulk", "drain", "ten-ms", "latency", "idle"];

/// Another system.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    command: fn(&Path) -> Command,
}

/// All that are measured beside ours.
pub(crate) const ALL: [Peer; 3] = [
    Peer { name: "apalis", command: |folder| Command::new(folder.join("apalis/release/apalis-bench")) },
    Peer {
        name: "bullmq",
        command: |folder| {
            let mut command = Command::new("node");
            command.arg(folder.join("bullmq/bench.mjs"));
            command
        },
    },
    Peer {
        name: "celery",
        command: |folder| {
            let mut command = Command::new(folder.join("celery/bin/python"));
            command.arg("bench.py").current_dir(sources().join("celery"));
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command
        },
    },
];

impl Peer {
    /// The figures of one scenario, named after the peer; none if it is not measured at that.
    pub(crate) fn measure(self, scenario: &str) -> Result<Vec<Figure>> {
        if !SCENARIOS.contains(&scenario) {
            return Ok(Vec::new());
        }
        let folder =
            std::env::var_os(FOLDER).ok_or("run `cargo xtask bench --peers`, which installs the peers")?;
        let place = Place::new(Kind::Redis)?;
        let (host, port) = place.address().ok_or("the peers run on Redis")?;
        let output = (self.command)(&PathBuf::from(folder))
            .args([scenario, host, &port.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{} {scenario}: {}", self.name, output.status).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let named = |figure: Figure| Figure { name: format!("{}: {}", self.name, figure.name), ..figure };
        Ok(text.lines().filter_map(Figure::of_line).map(named).collect())
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}
