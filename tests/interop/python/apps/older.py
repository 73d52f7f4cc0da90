"""An application that sends pickles, and prints."""
import os
import sys

from celery import Celery

app = Celery("older", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
app.conf.update(task_serializer="pickle", result_serializer="pickle", accept_content=["pickle", "json"])


@app.task
def doubled(numbers):
    return {2 * number for number in numbers}


@app.task
def prints(text):
    print(text)
    print(f"and {text}", file=sys.stderr)
