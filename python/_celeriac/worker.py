"""The parent of a Celery worker, as far as it runs before its children and beside them: a worker without pool and consumer.

Source: celery/worker/worker.py and celery/apps/worker.py, `WorkController` and `Worker`, Celery 5.7.0, whose start this is.
"""
from celery import bootsteps, signals
from celery.apps.worker import Worker


class Parent(Worker):
    """Sends the signals of the start in their order, and starts nothing."""

    class Blueprint(bootsteps.Blueprint):
        name = "Worker"
        default_steps = set()

    def __init__(self, params, **kwargs):
        # What the command line has said, for this and for whatever the application adds to it.
        self.params = params
        super().__init__(**kwargs)

    def setup_defaults(self, pool_start_method=None, **options):
        self.start_method = pool_start_method
        if pool_start_method is not None:
            options["pool_start_method"] = pool_start_method
        super().setup_defaults(**options)

    def after_setup(self):
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=self.app.conf)

    def redirect(self):
        """What tasks print becomes records of the log, unless the application logs its own way.

        Source: celery/apps/worker.py, `Worker.on_start`, Celery 5.7.0. The variables that this sets are for the children.
        """
        if not self._custom_logging and self.redirect_stdouts:
            self.app.log.redirect_stdouts(self.redirect_stdouts_level)

    def setup_instance(self, **options):
        # Steps of the application would need what is not here; they have been named as such.
        kept = self.app.steps["worker"]
        self.app.steps["worker"] = set()
        try:
            super().setup_instance(**options)
        finally:
            self.app.steps["worker"] = kept

    def reload(self, modules=None, reload=False, reloader=None):
        """As in a stock worker; the children are the Rust parent's, which replaces them after this."""
        list(self._reload_modules(modules, force_reload=reload, reloader=reloader))
