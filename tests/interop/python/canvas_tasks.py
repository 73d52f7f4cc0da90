"""The tasks that canvases are made of, for a stock worker; src/canvas/tasks.rs has the same ones in Rust."""
from celery import chain

from tasks import OutOfTea, app

# A retry comes soon, whoever runs it.
SOON = 0.2


@app.task(name="canvas.add")
def add(x, y):
    return x + y


@app.task(name="canvas.echo")
def echo(value):
    return value


@app.task(name="canvas.total")
def total(numbers):
    """Sums numbers and lists of numbers."""
    return sum(total(number) if isinstance(number, list) else number for number in numbers)


@app.task(name="canvas.fail")
def fail(*_):
    raise OutOfTea("no leaves")


@app.task(name="canvas.hush", ignore_result=True)
def hush(value):
    return value


@app.task(name="canvas.note")
def note(*seen):
    """What a callback is told."""
    return ["noted", *seen]


@app.task(name="canvas.told")
def told(request_id):
    """What an errback is told."""
    return ["told", request_id]


@app.task(name="canvas.told_more")
def told_more(request_id, more):
    """What an errback is told, and what it was given before."""
    return ["told", request_id, more]


@app.task(name="canvas.whoami", bind=True)
def whoami(self, *_):
    """What a task knows of its own call."""
    request = self.request
    return {
        "root": request.root_id,
        "parent": request.parent_id,
        "group": request.group,
        "index": request.group_index,
        "priority": request.delivery_info["priority"] or 0,
        "tenant": request.get("tenant"),
        "stamps": request.stamps or {},
        "retries": request.retries,
    }


@app.task(name="canvas.again", bind=True, max_retries=5)
def again(self, value):
    """Succeeds at the second try."""
    if not self.request.retries:
        raise self.retry(countdown=SOON)
    return value


@app.task(name="canvas.hopeless", bind=True, max_retries=1)
def hopeless(self, *_):
    """Fails at the second try too."""
    raise self.retry(countdown=SOON, exc=OutOfTea("never any leaves"))


@app.task(name="canvas.replace", bind=True)
def replace(self, *arguments):
    """Becomes the signature that is its last argument, after an echo of the other if there is one."""
    *given, signature = arguments
    signature = app.signature(signature)
    raise self.replace(chain(echo.s(*given), signature) if given else signature)


@app.task(name="canvas.extend", bind=True)
def extend(self, signatures):
    """Adds to its own chord."""
    for signature in signatures:
        self.add_to_chord(app.signature(signature))
    return 0
