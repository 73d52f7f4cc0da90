"""An application that adds to the command line of its worker, and notes what its worker was started with."""
import json
import os
import sys
import time

from celery import Celery
from celery.bin.base import CeleryOption
from celery.signals import celeryd_init, user_preload_options
from kombu import Queue

app = Celery("options", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
app.conf.task_queues = [Queue("celery"), Queue("other"), Queue("third")]
app.user_options["worker"].add(CeleryOption(("--tenant",), default="nobody", help="Whose tasks to run."))
app.user_options["preload"].add(CeleryOption(("-Z", "--zone"), default="nowhere"))
preload = {}


@user_preload_options.connect
def on_preload(options, **_):
    preload.update(options)


@celeryd_init.connect
def on_init(sender, conf, options, **_):
    with open("started.json.part", "w") as file:
        json.dump({
            "node": sender, "program": sys.argv[0], "argv": sys.argv[1:], "preload": preload,
            "tenant": options.get("tenant"), "concurrency": options.get("concurrency"),
            "max_tasks": options.get("max_tasks_per_child"), "queues": options.get("queues"),
            "multiplier": conf.worker_prefetch_multiplier, "umask": os.umask(0o022), "user": os.getuid(),
        }, file)
    os.rename("started.json.part", "started.json")


@app.task
def nap(seconds):
    time.sleep(seconds)
    with open("napped", "w"):
        pass
