import logging, os, sqlite3
from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

log = logging.getLogger(__name__)
app = Celery('urls', broker=os.environ['CELERY_BROKER_URL'], backend=os.environ.get('CELERY_RESULT_BACKEND'))
db = None

@worker_process_init.connect
def init_worker(**kwargs):
    global db
    log.debug('Initializing database connection for worker.')
    db = sqlite3.connect('urls.sqlite')
    db.execute('CREATE TABLE IF NOT EXISTS urls (url TEXT PRIMARY KEY, pid INTEGER)')

@worker_process_shutdown.connect
def shutdown_worker(**kwargs):
    global db
    if db:
        log.debug('Closing database connection for worker.')
        db.close()

@app.task
def save(url):
    with db:
        db.execute('INSERT OR IGNORE INTO urls VALUES (?, ?)', (url, os.getpid()))
    return url
