//! The suite on this machine: downloaded once, with a Python of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python;
use crate::run::{self, Failure, Result, describe};

/// About Azure alone, and in need of an account there.
const LEFT_OUT: &str = "t/integration/test_backend.py";

/// The suite, and what runs it.
pub(crate) struct Suite {
    /// Where its folder `t` is.
    pub(crate) folder: PathBuf,
    /// Has Celery, and what the tests need.
    pub(crate) python: PathBuf,
    /// Where the output of its runs goes.
    pub(crate) logs: PathBuf,
}

/// The folder of what is ours.
pub(crate) fn ours() -> PathBuf {
    run::root().join("tests/conformance")
}

impl Suite {
    /// Makes the environment and downloads the suite, unless they are there; `None` where Python is missing at a desk.
    pub(crate) fn prepare() -> Result<Option<Self>> {
        let release = python::CELERY[0];
        let requirements = read(&ours().join("requirements.txt"))?;
        let celery = format!("celery[redis]=={release}");
        let packages: Vec<&str> = requirements.lines().filter(|line| !line.starts_with('#')).collect();
        let packages = [&[celery.as_str()], &packages[..]].concat();
        let Some(python) = python::environment("python-conformance", &packages)? else { return Ok(None) };
        let folder = run::root().join("target/conformance");
        let suite = folder.join(format!("suite-{release}"));
        if !suite.exists() {
            download(&python, release, &folder, &suite)?;
        }
        let logs = folder.join("logs");
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs).map_err(|error| failure(&logs, &error))?;
        Ok(Some(Self { folder: suite, python, logs }))
    }

    /// The ids of all tests, or of these.
    pub(crate) fn collect(&self, chosen: &[String]) -> Result<Vec<String>> {
        let mut command = self.pytest();
        command.args(["--collect-only", "--quiet", "--ignore", LEFT_OUT]);
        match chosen {
            [] => command.arg("t/integration"),
            chosen => command.args(chosen),
        };
        let output = command.output().map_err(|error| failure(&self.python, &error))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(Failure(format!("{}: {}\n{said}", describe(&command), output.status)));
        }
        Ok(said.lines().filter(|line| line.contains("::")).map(str::to_owned).collect())
    }

    /// pytest in the folder of the suite, with the plugins that the suite needs.
    pub(crate) fn pytest(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", "pytest"]);
        self.equip(&mut command);
        command
    }

    /// What every run of pytest needs.
    pub(crate) fn equip(&self, command: &mut Command) {
        // The fixtures of Celery's test support, which the package pytest-celery would load.
        command.args(["-p", "celery.contrib.pytest", "-p", "external_plugin", "-p", "no:cacheprovider"]);
        command.current_dir(&self.folder).env("PYTHONPATH", ours()).env("PYTHONDONTWRITEBYTECODE", "1");
    }
}

/// Gets the source distribution with pip, and unpacks of it what belongs to the tests.
fn download(python: &Path, release: &str, folder: &Path, suite: &Path) -> Result<()> {
    let of_release = format!("celery=={release}");
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"];
    run::run(Command::new(python).args(pip).arg(folder).arg(of_release))?;
    let name = format!("celery-{release}");
    let part = folder.join("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).map_err(|error| failure(&part, &error))?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(folder.join(format!("{name}.tar.gz")));
    tar.arg("--directory").arg(&part).args(["--strip-components", "1"]);
    // Without the sources of Celery, so that `celery` is the package that is installed.
    run::run(tar.args([format!("{name}/t"), format!("{name}/pyproject.toml")]))?;
    fs::rename(&part, suite).map_err(|error| failure(suite, &error))
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| failure(path, &error))
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("{}: {error}", path.display()))
}
