//! Our Python package as producers have it who have installed it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of this repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with what an installer would write down of the package: that it is there, and its entry points.
pub(crate) fn install() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("tests can write to the temporary folder");
    let facts = folder.path().join("celeriac-0.dist-info");
    fs::create_dir(&facts).unwrap();
    fs::write(facts.join("METADATA"), "Metadata-Version: 2.1\nName: celeriac\nVersion: 0\n").unwrap();
    let project = fs::read_to_string(root().join("pyproject.toml")).unwrap();
    fs::write(facts.join("entry_points.txt"), entry_points(&project)).unwrap();
    folder
}

/// Where the package and those facts are found.
pub(crate) fn path(installed: &tempfile::TempDir) -> OsString {
    std::env::join_paths([installed.path(), &root().join("python")]).unwrap()
}

/// The entry points of a project in the form of installed packages.
fn entry_points(project: &str) -> String {
    let project: toml::Table = project.parse().expect("pyproject.toml is TOML");
    let mut text = String::new();
    for (group, entries) in project["project"]["entry-points"].as_table().unwrap() {
        text += &format!("[{group}]\n");
        for (name, place) in entries.as_table().unwrap() {
            text += &format!("{name} = {}\n", place.as_str().unwrap());
        }
    }
    text
}
