//! `cargo xtask bench`: measures, with what that needs installed.

use std::path::PathBuf;
use std::process::Command;

use crate::run::{self, Failure, Result};
use crate::{programs, python};

/// The Celery beside which ours is measured.
const CELERY: &str = "5.7.0";

/// Measures; the arguments are those of the program in `benches`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut command = run::cargo();
    command.args(["run", "--release", "--locked", "--package", "celeriac-benches", "--"]).args(arguments);
    if arguments.iter().any(|argument| argument == "--peers") {
        install_peers()?;
        command.env("CELERIAC_BENCH_PEERS", run::root().join("target/peers"));
    }
    if arguments.iter().any(|argument| argument == "--hosted") {
        let missing =
            |program: &str| Failure(format!("{program} is missing: a Celery application cannot be measured"));
        if !programs::ensure("redis-server", &["--version"], "redis-server")? {
            return Err(missing("redis-server"));
        }
        command.env("CELERIAC_PYTHON", python::celery(CELERY)?.ok_or_else(|| missing("python3"))?);
        command.env("CELERIAC_BENCH_PROGRAM", build_program()?);
    }
    run::run(&mut command)
}

/// The program `celeriac` as it is shipped, with Redis.
fn build_program() -> Result<PathBuf> {
    let mut build = run::cargo();
    build.args([
        "build",
        "--release",
        "--locked",
        "--package",
        "celeriac",
        "--bin",
        "celeriac",
        "--features",
        "redis",
    ]);
    run::run(&mut build)?;
    Ok(run::root().join("target/release/celeriac"))
}

/// Puts the other systems below `target/peers`, in the versions that are pinned in the repository.
fn install_peers() -> Result<()> {
    let missing = |program: &str| Failure(format!("{program} is missing: the peers cannot be measured"));
    if !programs::ensure("redis-server", &["--version"], "redis-server")? {
        return Err(missing("redis-server"));
    }
    if !programs::ensure("npm", &["--version"], "npm")? {
        return Err(missing("npm"));
    }
    let celery = python::celery(CELERY)?.ok_or_else(|| missing("python3"))?;
    let peers = run::root().join("target/peers");
    let bullmq = peers.join("bullmq");
    let failed = |error: std::io::Error| Failure(format!("{}: {error}", peers.display()));
    std::fs::create_dir_all(&bullmq).map_err(failed)?;
    for file in ["bench.mjs", "package.json", "package-lock.json"] {
        std::fs::copy(run::root().join("benches/peers/bullmq").join(file), bullmq.join(file))
            .map_err(failed)?;
    }
    // Not `npm ci`: it refuses a lock file without the optional packages of every platform. This keeps the versions too.
    run::run(Command::new("npm").args(["install", "--silent"]).current_dir(&bullmq))?;
    let mut apalis = run::cargo();
    apalis.args(["build", "--release", "--locked", "--target-dir"]).arg(peers.join("apalis"));
    run::run(apalis.current_dir(run::root().join("benches/peers/apalis")))?;
    let link = peers.join("celery");
    let environment = celery.parent().and_then(|bin| bin.parent()).ok_or_else(|| missing("python3"))?;
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(environment, &link).map_err(failed)
}
