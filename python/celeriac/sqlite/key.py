"""Ids as the tables keep them: 16 bytes if it is a UUID as Celery writes it, else text."""
import re
import uuid

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# The place of members of chords that have none, behind all others.
NO_PLACE = 2**63 - 1


def key_of(text):
    text = str(text)
    return uuid.UUID(text).bytes if _UUID.fullmatch(text) else text


def text_of(key):
    return str(uuid.UUID(bytes=key)) if isinstance(key, bytes) else key
