"""The parent of a Celery worker, as far as it runs before its children and beside them: a worker without pool and consumer.

Source: celery/worker/worker.py and celery/apps/worker.py, `WorkController` and `Worker`, Celery 5.7.0, whose start this is.
"""
from celery import bootsteps, signals
from celery.apps.worker import Worker

# Options of `celery worker` that `Worker` takes under another name, or that are the Rust parent's alone.
_RENAMED = {"pool": "pool_cls"}
_OURS = {"quiet"}


class Parent(Worker):
    """Sends the signals of the start in their order, and starts nothing."""

    class Blueprint(bootsteps.Blueprint):
        name = "Worker"
        default_steps = set()

    def after_setup(self):
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=self.app.conf)

    def setup_instance(self, **options):
        # Steps of the application would need what is not here; they have been named as such.
        kept = self.app.steps["worker"]
        self.app.steps["worker"] = set()
        try:
            super().setup_instance(**options)
        finally:
            self.app.steps["worker"] = kept


def start(app, node, options):
    """Starts it as `celery worker` would, with these options."""
    given = {_RENAMED.get(name, name): value for name, value in options.items() if value is not None}
    given = {name: value for name, value in given.items() if name not in _OURS}
    given.setdefault("pool_cls", app.conf.worker_pool)
    parent = Parent(app=app, hostname=node, quiet=True, **given)
    parent.after_setup()
    return parent
