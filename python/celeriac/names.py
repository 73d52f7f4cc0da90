"""How `sqlite://` gets known to kombu and Celery without the application importing anything.

Celery finds the result backend by itself: it asks the entry points of the group `celery.result_backends` for every name that is not
its own. kombu has no entry points for transports, only a table of them, so somebody has to put one in before the first
connection. Of what kombu loads by itself, the group `kombu.serializers` is the only one that is loaded in every process that
uses Celery: `kombu/serialization.py` reads it at its end, and `celery/app/base.py` needs that module (by `kombu.common`). The other
group, `kombu.matchers`, is read by `kombu/pidbox.py` only, which a producer may never import. A `.pth` file would run in every process of the
interpreter, also in those without Celery. So the package has an entry point for a serializer that encodes and decodes nothing, and
loading that fills the table.

Sources: kombu/serialization.py, kombu/matcher.py and kombu/transport/__init__.py, kombu 5.3.4 to 5.7.0; celery/app/backends.py, `by_name`,
Celery 5.4.0 to 5.7.0.

This module is imported while kombu is, so it needs nothing but the table.
"""
from kombu.transport import TRANSPORT_ALIASES

_SCHEME = "sqlite"
_TRANSPORT = "celeriac.transport:Transport"
_BACKEND = "celeriac.backend:SqliteBackend"

# Whoever has a transport of this name keeps it.
TRANSPORT_ALIASES.setdefault(_SCHEME, _TRANSPORT)

# What kombu registers under the name of the entry point: no encoder, no decoder, a content type and its encoding.
serializer = (None, None, "application/x-celeriac-none", "binary")


def take_over():
    """Names both where the package is not installed, or in another version: in the template of the binary and its children."""
    from celery.app.backends import BACKEND_ALIASES

    TRANSPORT_ALIASES[_SCHEME] = _TRANSPORT
    BACKEND_ALIASES[_SCHEME] = _BACKEND
