"""A stock producer that is instrumented for OpenTelemetry. Usage: trace_sends.py TASK ARGUMENT..."""
import os
import sys

from celery import Celery
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

DEADLINE = 60

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()

url = os.environ["CELERY_BROKER_URL"]
app = Celery("producer", broker=url, backend=url)


# The instrumentation ends the span of a message only where the producer knows the task.
@app.task(name=sys.argv[1])
def task(*args):
    raise AssertionError("it runs elsewhere")


with trace.get_tracer("producer").start_as_current_span("request"):
    result = task.delay(*sys.argv[2:])
result.get(timeout=DEADLINE, propagate=False)
provider.shutdown()
