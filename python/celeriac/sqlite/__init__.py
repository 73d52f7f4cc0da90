"""The embedded store: one SQLite file that several processes of one host share, whatever language they are written in.

This is the Python half of `crates/store/src/sqlite`, with its SQL: what a statement promises under concurrency is said there. All
writing is in write transactions that commit before anybody hears of it, and processes wake each other through named pipes.
"""
from celeriac.sqlite.errors import Misconfigured, NewerVersion, StoreError, TooLarge, Unavailable
from celeriac.sqlite.store import Store, open_store

__all__ = ("Misconfigured", "NewerVersion", "Store", "StoreError", "TooLarge", "Unavailable", "open_store")
