//! Lists the Python code and the SQL that a template and its children need, so that the program carries all of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../python");
    let mut found = Vec::new();
    walk(&root, &mut found)?;
    found.sort();
    let mut list = String::from("&[\n");
    for path in &found {
        let name =
            path.strip_prefix(&root).expect("it was found there").to_str().expect("these names are ours");
        let place = path.to_str().ok_or_else(|| io::Error::other("the path of this project is not UTF-8"))?;
        writeln!(list, "    ({name:?}, include_str!({place:?})),").expect("a string takes all");
    }
    list.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("python.rs"), list)
}

/// Finds the files below a folder that are to be carried; cargo looks at the folders again when something in them changes.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_code = path.extension().is_some_and(|kind| kind == "py" || kind == "sql");
        if path.is_dir() && path.file_name().is_none_or(|name| name != "__pycache__") {
            walk(&path, found)?;
        } else if is_code {
            found.push(path);
        }
    }
    Ok(())
}
