//! The Python package: built and installed as `pip install .` does it, then used by an application that knows nothing of it.

use std::path::Path;
use std::process::Command;

use crate::run::{self, Result};
use crate::runner::Tally;

/// Installs this checkout into an environment that has maturin and Celery, and runs what `installed.py` says.
///
/// The binary is built without optimisations: what is tested is that all of it is there and finds each other.
pub(crate) fn test(interpreter: &Path) -> Result<Tally> {
    let mut install = Command::new(interpreter);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--force-reinstall",
            ".",
        ])
        .env("MATURIN_PEP517_ARGS", "--profile dev")
        // The build finds maturin beside its interpreter.
        .env("PATH", path_with(interpreter.parent().unwrap_or(interpreter)))
        .current_dir(run::root());
    run::run(&mut install)?;
    run::run(Command::new(interpreter).arg(run::root().join("tests/interop/python/installed.py")))?;
    Ok(Tally::passed(1))
}

fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}
