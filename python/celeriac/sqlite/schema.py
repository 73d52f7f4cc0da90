"""Versions of the schema, and the way from each to the next."""
import sqlite3

from celeriac.sqlite.errors import Misconfigured, NewerVersion, StoreError
from celeriac.sqlite.statements import SQL

# Says in the header of the file that it is ours: "Cele".
_APPLICATION_ID = 0x4365_6C65
# The step from each version to the next; version 0 is an empty file.
STEPS = ("schema_1", "schema_2", "schema_3", "schema_4", "schema_5", "schema_6")
# The first SQLite with the tables of the schema, which are STRICT.
_OLDEST = (3, 37, 0)


def check_library():
    if sqlite3.sqlite_version_info < _OLDEST:
        needed = ".".join(map(str, _OLDEST))
        raise Misconfigured(f"this Python has SQLite {sqlite3.sqlite_version}, and the store needs {needed}: use a newer Python")


def migrate(connection, path):
    """Brings the file to the version of this package, in one transaction; processes that start together queue up for it."""
    mode = connection.value("PRAGMA journal_mode")
    # One look at all of it, or half of what another process writes now would look like somebody else's file.
    with connection.reading():
        found = _check(connection, path)
    if found == len(STEPS) and mode == "wal":
        return
    # While another process does the same, SQLite refuses at once, or answers with the mode that it goes on with instead.
    mode = connection.patiently(lambda: _begin_log(connection))
    if mode != "wal":
        raise Misconfigured(
            f"{path} cannot have a write-ahead log (SQLite stays with journal mode {mode}): "
            "put the file on a disk of this machine, not on a network file system"
        )
    with connection.writing():
        for step in STEPS[_check(connection, path):]:
            for statement in _statements(SQL[step]):
                connection.run(statement)
        connection.run(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.run(f"PRAGMA user_version = {len(STEPS)}")


def _begin_log(connection):
    return connection.raw.execute("PRAGMA journal_mode = WAL").fetchone()[0]


def _check(connection, path):
    """The version found, if this package can work with the file."""
    found = connection.value("PRAGMA user_version")
    application = connection.value("PRAGMA application_id")
    tables = connection.value("SELECT count(*) FROM sqlite_master")
    is_empty = not (tables or found or application)
    if not is_empty and application != _APPLICATION_ID:
        raise StoreError(f"{path} is the database of another program")
    if found > len(STEPS):
        raise NewerVersion(path, found, len(STEPS))
    return found


def _statements(script):
    """The statements of a script: `executescript` would commit before it begins."""
    statement = ""
    for piece in script.split(";")[:-1]:
        statement += piece + ";"
        # A semicolon may stand in a comment.
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
