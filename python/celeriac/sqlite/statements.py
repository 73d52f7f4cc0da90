"""The SQL of the store, which the Rust half has too."""
import pkgutil


class _Statements(dict):
    """Statements by their names, each read once."""

    def __missing__(self, name):
        data = pkgutil.get_data("celeriac.sqlite", f"sql/{name}.sql")
        if data is None:
            raise LookupError(f"the package celeriac is incomplete: it has no statement {name}")
        # Before Python 3.11 `sqlite3` knows by its first word whether a statement changes rows, and counts them only then.
        text = self[name] = _without_first_comment(data.decode())
        return text


def _without_first_comment(text):
    while text.startswith("--"):
        text = text.partition("\n")[2]
    return text


SQL = _Statements()
