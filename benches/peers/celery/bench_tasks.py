"""The tasks that Celery runs in the benchmarks."""
import os
import time

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_URL"], backend=os.environ["BENCH_URL"])
delays = os.environ.get("BENCH_DELAYS")


@app.task
def nothing():
    return None


@app.task(ignore_result=True)
def ignored():
    return None


@app.task
def ten_milliseconds():
    time.sleep(0.010)


@app.task
def ping(sent):
    with open(delays, "a") as file:
        file.write(f"{(time.time() - sent) * 1000}\n")
