"""An application with queues that are bound to exchanges of other names."""
import os

from celery import Celery
from kombu import Exchange, Queue, binding

app = Celery("bound", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
media = Exchange("media", type="topic")
post = Exchange("post")
app.conf.task_queues = [
    Queue("celery"),
    Queue("videos", media, routing_key="video.#"),
    Queue("letters", [binding(post, routing_key="letter"), binding(post, routing_key="card")]),
    Queue("news", Exchange("news", type="fanout"), routing_key="any"),
    Queue("images", media, routing_key="image.*"),
]


@app.task(name="bound.add")
def add(x, y):
    return x + y
