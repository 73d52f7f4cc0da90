//! The Python code of the template and its children, which this program carries.

use bytes::Bytes;

/// The modules of the package, apart from the bootstrap.
const MODULES: &[(&str, &str)] = &[
    ("child", include_str!("../../../../../../python/_celeriac/child.py")),
    ("command", include_str!("../../../../../../python/_celeriac/command.py")),
    ("coroutines", include_str!("../../../../../../python/_celeriac/coroutines.py")),
    ("describe", include_str!("../../../../../../python/_celeriac/describe.py")),
    ("forkable", include_str!("../../../../../../python/_celeriac/forkable.py")),
    ("frames", include_str!("../../../../../../python/_celeriac/frames.py")),
    ("green", include_str!("../../../../../../python/_celeriac/green.py")),
    ("linux", include_str!("../../../../../../python/_celeriac/linux.py")),
    ("loop", include_str!("../../../../../../python/_celeriac/loop.py")),
    ("many", include_str!("../../../../../../python/_celeriac/many.py")),
    ("native", include_str!("../../../../../../python/_celeriac/native.py")),
    ("pools", include_str!("../../../../../../python/_celeriac/pools.py")),
    ("solo", include_str!("../../../../../../python/_celeriac/solo.py")),
    ("spawn", include_str!("../../../../../../python/_celeriac/spawn.py")),
    ("starts", include_str!("../../../../../../python/_celeriac/starts.py")),
    ("template", include_str!("../../../../../../python/_celeriac/template.py")),
    ("threads", include_str!("../../../../../../python/_celeriac/threads.py")),
    ("told", include_str!("../../../../../../python/_celeriac/told.py")),
    ("unsupported", include_str!("../../../../../../python/_celeriac/unsupported.py")),
    ("worker", include_str!("../../../../../../python/_celeriac/worker.py")),
];

/// What the interpreter is started with: it takes the rest from its standard input.
pub(super) const BOOTSTRAP: &str = include_str!("../../../../../../python/_celeriac/bootstrap.py");

/// The modules as a frame carries them: an object of names and texts.
pub(super) fn as_json() -> Bytes {
    let object = MODULES.iter().map(|(name, text)| ((*name).to_owned(), (*text).into()));
    serde_json::Value::Object(object.collect()).to_string().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_module_of_the_package_is_carried() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/_celeriac");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().to_str()?.strip_suffix(".py").map(ToOwned::to_owned)
            })
            .filter(|name| name != "bootstrap")
            .collect();
        let carried: BTreeSet<String> = MODULES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(carried, there);
    }
}
