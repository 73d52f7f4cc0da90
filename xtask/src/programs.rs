//! Programs that some tests need: found, installed where that is possible, or reported.

use std::process::{Command, Stdio};

use crate::run::{self, Failure, Result};

/// Whether a missing program is a failure (in CI) or a visible skip (at a desk).
pub(crate) fn required() -> bool {
    std::env::var_os("CELERIAC_TEST_REQUIRE").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Makes sure that `program` runs, installing Debian's `package` if this user may; says whether it is there.
pub(crate) fn ensure(program: &str, probe: &[&str], package: &str) -> Result<bool> {
    if answers(program, probe) {
        return Ok(true);
    }
    if may_install() {
        install(package)?;
    }
    match answers(program, probe) {
        true => Ok(true),
        false if required() => Err(Failure(format!("{program} is missing: install the package {package}"))),
        false => Ok(false),
    }
}

fn answers(program: &str, probe: &[&str]) -> bool {
    let status = Command::new(program).args(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether this is root on a machine with apt-get.
fn may_install() -> bool {
    let is_root =
        Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && answers("apt-get", &["--version"])
}

fn install(package: &str) -> Result<()> {
    run::run(Command::new("apt-get").args(["update", "--quiet"]))?;
    run::run(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
