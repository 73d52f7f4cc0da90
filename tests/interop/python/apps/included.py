"""A module that an application does not import by itself."""
from celery import shared_task


@shared_task(name="included.task")
def task():
    return "included"
