"""An application whose import leaves open what no fork can share."""
import multiprocessing
import os
import socket
import threading

from celery import Celery, signals

app = Celery("leftovers", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
if "START_METHOD" in os.environ:
    app.conf.worker_pool_start_method = os.environ["START_METHOD"]

opened_by = os.getpid()
host, port = os.environ["CELERY_BROKER_URL"].split("/")[2].split("@")[-1].split(":")
connection = socket.create_connection((host, int(port)))
threading.Thread(target=threading.Event().wait, name="metrics", daemon=True).start()


@signals.worker_process_init.connect
def init(**_):
    with open("notes", "a") as notes:
        notes.write(f"worker_process_init {os.getpid()}\n")


@app.task(bind=True)
def whose(self):
    """Who opened the connection, and what the process is."""
    threads = [thread.name for thread in threading.enumerate()]
    return {
        "pid": os.getpid(), "opened_by": opened_by, "name": multiprocessing.current_process().name, "threads": threads,
        "says": os.environ.get("FORKED_BY_MULTIPROCESSING"), "node": self.request.hostname,
    }
