//! Private Python environments with real Celery.

use std::path::PathBuf;
use std::process::Command;

use crate::programs;
use crate::run::{self, Result};

/// The Celery that recorded our wire bytes: pinned, because the bytes name these versions.
const RECORDING: &[&str] =
    &["celery[redis]==5.7.0", "kombu==5.7.0", "msgpack==1.2.4", "backports.zstd==1.8.0"];

/// The releases that must interoperate.
pub(crate) const CELERY: &[&str] = &["5.7.0", "5.6.3", "5.5.3"];

/// What watches workers, and what tells others of tasks out of an application; tests of both run on the newest release only.
const TOOLS: [&str; 6] = [
    "flower==2.2.0",
    "celery-prometheus-exporter==1.7.0",
    "opentelemetry-instrumentation-celery==0.66b2",
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "sentry-sdk==2.75.0",
];

/// The interpreter that records wire bytes; `None` where Python is missing at a desk.
pub(crate) fn recording() -> Result<Option<PathBuf>> {
    environment("python", RECORDING)
}

/// An interpreter with this release of Celery, its client of Redis, all its serializers and compressions, and the libraries
/// that its pools need.
pub(crate) fn celery(release: &str) -> Result<Option<PathBuf>> {
    let celery = format!("celery[redis,msgpack,zstd]=={release}");
    // What kombu 5.7 unpacks zstd with; before Python 3.14 it is a package.
    let mut packages = vec![celery.as_str(), "backports.zstd==1.8.0"];
    // What applications of the tests run in, or are.
    packages.extend(["gevent==26.9.0", "eventlet==0.41.3", "uvloop==0.23.0", "django==5.2.19"]);
    if release == CELERY[0] {
        packages.extend(TOOLS);
    }
    environment(&format!("python-celery-{release}"), &packages)
}

/// An interpreter into which our package can be installed from this checkout.
pub(crate) fn package() -> Result<Option<PathBuf>> {
    let celery = format!("celery=={}", CELERY[0]);
    environment("python-package", &["maturin==1.16.0", &celery])
}

/// The interpreter of an environment below `target`, made on first use.
pub(crate) fn environment(name: &str, packages: &[&str]) -> Result<Option<PathBuf>> {
    // `ensurepip` is what Debian keeps in a package of its own.
    if !programs::ensure("python3", &["-c", "import venv, ensurepip"], "python3-venv")? {
        return Ok(None);
    }
    let folder = run::root().join("target").join(name);
    let interpreter = folder.join("bin/python");
    let stamp = folder.join("packages");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(Some(interpreter));
    }
    run::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run::run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    std::fs::write(&stamp, wanted).map_err(|error| run::Failure(format!("{}: {error}", stamp.display())))?;
    Ok(Some(interpreter))
}
