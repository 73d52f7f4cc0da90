//! The Python code of the template and its children, which this program carries.

use bytes::Bytes;

/// Every file of `python/`, by its path there: the code of the template, and the embedded store for Celery with its SQL, which may not be
/// installed where the application is. `build.rs` makes the list.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/python.rs"));

/// What the interpreter is started with: it takes the rest from its standard input.
pub(super) const BOOTSTRAP: &str = include_str!("../../../../../../python/_celeriac/bootstrap.py");

/// The files as a frame carries them: an object of paths and texts.
pub(super) fn as_json() -> Bytes {
    let object = FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).into()));
    serde_json::Value::Object(object.collect()).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_sql_are_carried() {
        for path in ["_celeriac/template.py", "celeriac/backend.py", "celeriac/sqlite/sql/schema_1.sql"] {
            assert!(FILES.iter().any(|(carried, text)| *carried == path && !text.is_empty()), "{path}");
        }
    }

    /// What was compiled of a module is not its code.
    #[test]
    fn nothing_else_is_carried() {
        assert!(FILES.iter().all(|(path, _)| path.ends_with(".py") || path.ends_with(".sql")));
    }
}
