"""Why the store could not do something."""


class StoreError(Exception):
    """Trying again does not help."""


class Misconfigured(StoreError):
    """The URL or the file cannot be used as it is."""


class NewerVersion(StoreError):
    """A newer Celeriac has written the file."""

    def __init__(self, path, found, known):
        super().__init__(f"{path} has version {found} of the store and this Celeriac knows {known}: use a newer one here")


class TooLarge(StoreError):
    """A message or a result is larger than the store takes."""


class Unavailable(StoreError, ConnectionError):
    """Others held the file for too long, or the disk is full. Trying again may help."""
