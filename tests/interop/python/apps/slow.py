"""An application whose import takes until it is told to go on."""
import os
import time

from celery import Celery

with open("importing.part", "w") as file:
    file.write(str(os.getpid()))
os.rename("importing.part", "importing")
while not os.path.exists("go on"):
    time.sleep(0.01)

app = Celery("slow", broker=os.environ["CELERY_BROKER_URL"])
if "PROBES_OF_APPLICATION" in os.environ:
    app.conf.worker_metrics_address = os.environ["PROBES_OF_APPLICATION"]
