"""Celery on the embedded store: `sqlite://` as broker and as result backend, for producers, workers and children.

    app = Celery("tasks", broker="sqlite:///celeriac.db", backend="sqlite:///celeriac.db")

Nothing has to be imported for that; see `celeriac.names`. The store itself, one file that several processes of one host share, is
`celeriac.sqlite`; `celeriac.transport` is what kombu sees of it, `celeriac.backend` what Celery sees.
"""
