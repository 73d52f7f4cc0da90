"""An application that reports its errors to Sentry: what would be sent is appended to the file SENTRY_EVENTS."""
import json
import os

import sentry_sdk
from celery import Celery
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport


class ToFile(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event is not None:
            with open(os.environ["SENTRY_EVENTS"], "a") as file:
                file.write(json.dumps(event, default=str) + "\n")


sentry_sdk.init(
    dsn="http://key@127.0.0.1:9/1",
    transport=ToFile,
    default_integrations=False,
    integrations=[CeleryIntegration()],
    # Else the arguments of tasks are left out.
    send_default_pii=True,
)

app = Celery("sentried", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])


@app.task(name="sentried.fail")
def fail(message):
    raise ValueError(message)


@app.task(name="sentried.expected", throws=(KeyError,))
def expected():
    raise KeyError("expected")
