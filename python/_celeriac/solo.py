"""The child of `-P solo`: runs its tasks in the main thread, as a stock worker of that pool does in its only process.

Here the parent lives beside it, so that time limits are kept and tasks can be terminated, which the stock pool cannot do.

Source: celery/concurrency/solo.py, Celery 5.7.0.
"""
from _celeriac.child import Child
from _celeriac.many import Many


class Solo(Child):
    prepare_main = Many.prepare
    before_end = Many.before_end
    end = Many.end

    def prepare(self):
        from celery import signals
        from celery._state import _set_task_join_will_block

        self.prepare_main()
        _set_task_join_will_block(True)
        signals.worker_process_init.send(sender=self.node)
