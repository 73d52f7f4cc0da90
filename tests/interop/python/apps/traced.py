"""An application that is instrumented for OpenTelemetry as its documentation shows it."""
import os

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

app = Celery("traced", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])


@worker_process_init.connect(weak=False)
def start_tracing(**_):
    if "UNINSTRUMENTED" in os.environ:
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": os.environ["CHILD_SERVICE_NAME"]}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()


@worker_process_shutdown.connect(weak=False)
def end_tracing(**_):
    if "UNINSTRUMENTED" not in os.environ:
        from opentelemetry import trace

        trace.get_tracer_provider().shutdown()


@app.task(name="traced.add")
def add(x, y):
    return x + y


@app.task(name="traced.note")
def note(result):
    return result


@app.task(name="traced.relay")
def relay():
    app.signature("rust.add", (2, 3)).apply_async(link=note.s())


@app.task(name="traced.fail")
def fail(message):
    raise ValueError(message)


@app.task(name="traced.stubborn", bind=True, max_retries=10)
def stubborn(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.05)
    return self.request.retries
