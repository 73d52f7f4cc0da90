"""Whether children are forked or spawned."""
import contextlib
import logging

from _celeriac import forkable

logger = logging.getLogger("celeriac.template")

# Those of the prefork pool; the others have one child, which takes the place of the main process.
_OF_PREFORK = ("prefork", "loop")


class Starts:
    """Decides anew for each child, because threads and connections come and go.

    The command line and the setting `worker_pool_start_method` (Celery 5.7) decide where they say something; what is only its
    default says nothing.
    """

    def __init__(self, worker):
        self.wanted = worker.start_method or _set_by_application(worker.app.conf)
        self.known = []
        # Sockets that Celery itself has opened here, and opens anew in a child.
        self.of_celery = set()

    def spawns(self, runs, ours):
        """Whether a child that runs tasks like this is to be spawned. `ours` are descriptors of the template's own."""
        if runs not in _OF_PREFORK:
            return False
        if self.wanted == "spawn":
            return True
        reasons = forkable.reasons(ours, self.of_celery)
        if reasons != self.known:
            self.known = reasons
            self.tell(reasons)
        return bool(reasons) and self.wanted != "fork"

    @contextlib.contextmanager
    def of_celery_are_known(self):
        """What is connected meanwhile is the result backend of the application, which its children connect anew."""
        before = forkable.sockets()
        try:
            yield
        finally:
            self.of_celery = (self.of_celery | forkable.sockets() - before) & forkable.sockets()

    def tell(self, reasons):
        if not reasons:
            logger.warning("children are forked from now on")
        elif self.wanted == "fork":
            logger.warning("children are forked, as worker_pool_start_method says, and have no working copy of: %s", ", ".join(reasons))
        else:
            logger.warning("children are spawned instead of forked, because importing the application has left open: %s", ", ".join(reasons))


def _set_by_application(conf):
    return conf.without_defaults().get("worker_pool_start_method")

