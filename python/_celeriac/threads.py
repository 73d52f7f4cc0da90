"""The child of `-P threads`: each task runs on a thread. No thread can be stopped, and none is.

Source: celery/concurrency/thread.py, Celery 5.7.0, which sends no signals about its pool.
"""
from concurrent.futures import ThreadPoolExecutor

from _celeriac.many import Many


class Threads(Many):
    def prepare(self):
        from celery._state import _set_task_join_will_block

        super().prepare()
        _set_task_join_will_block(True)
        self.executor = ThreadPoolExecutor(self.birth["jobs"])

    def begin(self, head, body, run):
        self.executor.submit(self.execute, head, body, run)
