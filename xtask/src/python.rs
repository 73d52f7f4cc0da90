//! A private Python environment with the Celery that recorded our wire bytes.

use std::path::PathBuf;
use std::process::Command;

use crate::programs;
use crate::run::{self, Result};

/// What is installed: pinned, because the recorded bytes name these versions.
const PACKAGES: &[&str] = &["celery==5.7.0", "kombu==5.7.0", "msgpack==1.2.4", "backports.zstd==1.8.0"];

/// The interpreter of the environment, made on first use; `None` where Python is missing at a desk.
pub(crate) fn environment() -> Result<Option<PathBuf>> {
    // `ensurepip` is what Debian keeps in a package of its own.
    if !programs::ensure("python3", &["-c", "import venv, ensurepip"], "python3-venv")? {
        return Ok(None);
    }
    let folder = run::root().join("target/python");
    let interpreter = folder.join("bin/python");
    let stamp = folder.join("packages");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(interpreter));
    }
    run::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run::run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    std::fs::write(&stamp, wanted).map_err(|error| run::Failure(format!("{}: {error}", stamp.display())))?;
    Ok(Some(interpreter))
}
