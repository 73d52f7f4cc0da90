import os

from celery import shared_task
from django.db import connection, transaction

from .models import Visit


@shared_task
def visit(url):
    """Saves that somebody was there, and says whether the connection to the database was open already."""
    was_open = connection.connection is not None
    Visit.objects.create(url=url, process=os.getpid())
    return was_open


@shared_task
def visit_after_commit(url):
    """Has it saved by another task, once this one's transaction has been committed."""
    with transaction.atomic():
        Visit.objects.create(url=f"{url}/first", process=os.getpid())
        visit.delay_on_commit(f"{url}/second")


@shared_task
def visit_and_fail(url):
    """Saves nothing."""
    with transaction.atomic():
        Visit.objects.create(url=url, process=os.getpid())
        raise ValueError("not after all")
