"""Where a store is: URLs and files."""
import os

from celeriac.sqlite.errors import Misconfigured, StoreError, Unavailable

_LOOKS = "name a file: sqlite:///relative.db or sqlite:////absolute/path.db"


def path_of(url):
    """The path in a URL: one slash is the URL's own, a second one begins an absolute path."""
    scheme, separator, rest = url.partition("://")
    if scheme != "sqlite" or not separator or not rest.startswith("/") or len(rest) < 2:
        raise Misconfigured(f"{url}: {_LOOKS}")
    if "?" in rest:
        raise Misconfigured(f"{url}: options go into the settings, not into the URL")
    return rest[1:]


def identity(path):
    """Which file lies at a path now; none is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def explain(path, error):
    """What an error of SQLite means for the file at a path."""
    text = str(error)
    folder = os.path.dirname(path)
    if "unable to open" in text:
        if os.path.isdir(path):
            return Misconfigured(f"{path} is a folder: name a file in it")
        if not os.path.isdir(folder):
            return Misconfigured(f"the folder {folder} does not exist: create it")
        return Misconfigured(f"{path} cannot be opened: {text}")
    if is_busy(error):
        return Unavailable(f"{path} is held by others: {text}")
    if "full" in text:
        return Unavailable(f"the disk of {path} is full")
    return StoreError(f"{path}: {text}")


def is_busy(error):
    text = str(error)
    return "locked" in text or "busy" in text
