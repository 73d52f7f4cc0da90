"""Records what Celery and kombu put on the wire, for the tests of celeriac-protocol.

    python -m venv venv
    venv/bin/pip install celery==5.7.0 kombu==5.7.0 msgpack==1.2.4 backports.zstd==1.8.0
    venv/bin/python record.py

`record.py --check` writes nothing and fails where Celery now writes something else.

Writes one JSON file per subject beside itself, each with the versions that wrote it. Ids, times and the producer's
name are fixed, so a second run with the same versions changes nothing.
"""

import os
import sys

# Celery writes stamps in the order of a set: with this seed, always the same.
SEED = "2"
if os.environ.get("PYTHONHASHSEED") != SEED:
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": SEED})

import celery.app.base
import celery.canvas
import kombu.utils.uuid

from canvases import record_canvases
from common import new_id
from json_text import record_floats, record_json_bytes, record_json_texts, record_json_values
from messages import record_messages
from packing import record_compression, record_msgpack
from people import record_repr, record_signatures, record_timestamps
from results import record_results

if __name__ == "__main__":
    # Signatures and apps draw ids of their own.
    for module in (celery.app.base, celery.canvas, kombu.utils.uuid):
        module.uuid = lambda *_: new_id()
    record_messages()
    record_results()
    record_json_values()
    record_json_texts()
    record_json_bytes()
    record_floats()
    record_msgpack()
    record_compression()
    record_repr()
    record_timestamps()
    record_signatures()
    record_canvases()
