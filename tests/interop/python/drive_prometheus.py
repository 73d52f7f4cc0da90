"""Prometheus scrapes a worker of ours and answers what the dashboard and the alerts ask. Usage: drive_prometheus.py ADDRESS

ADDRESS is where the worker serves its metrics.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from waiting import DEADLINE, until

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "apps"))
import watched  # noqa: E402

MONITORING = os.path.join(HERE, "..", "..", "..", "docs", "monitoring")
WORKER = sys.argv[1]
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "30s", "$instance": ".*", "$task": ".*"}
# What only workers with resources tell.
OF_RESOURCES = ("celeriac_resource_",)

with socket.create_server(("127.0.0.1", 0)) as listener:
    ADDRESS = "127.0.0.1:%d" % listener.getsockname()[1]


def start(folder):
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [os.path.abspath(os.path.join(MONITORING, "alerts.yaml"))],
        "scrape_configs": [{"job_name": "celeriac", "static_configs": [{"targets": [WORKER]}]}],
    }
    # All JSON is YAML.
    with open(os.path.join(folder, "prometheus.yml"), "w") as file:
        json.dump(configuration, file)
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={ADDRESS}", "--log.level=warn",
    ]
    return subprocess.Popen(command)


def get(path, **parameters):
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}{path}?{urllib.parse.urlencode(parameters)}", timeout=DEADLINE) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        # It says why.
        return json.load(error) if error.code in (400, 422) else None
    except OSError:
        # It does not listen yet.
        return None


def ask(query):
    answer = until("Prometheus answers", lambda: get("/api/v1/query", query=query))
    assert answer["status"] == "success", (query, answer)
    return answer["data"]["result"]


def queries(panels):
    for panel in panels:
        yield from queries(panel.get("panels", []))
        yield from (target["expr"] for target in panel.get("targets", []))


def do_something():
    """Tasks that return and fail, and a message that nobody can run, once more than before."""
    for task in (watched.returns.s(1), watched.fails.s()):
        task.delay()
    watched.app.send_task("watched.nobody")


def dashboard_has_answers():
    with open(os.path.join(MONITORING, "grafana.json")) as file:
        asked = list(queries(json.load(file)["panels"]))
    assert len(asked) > 20, asked
    for query in asked:
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        if any(name in query for name in OF_RESOURCES):
            assert ask(query) == [], query
        else:
            until(f"an answer to {query}", lambda: do_something() or ask(query))


def alerts_are_asked_for():
    groups = until("the alerts are evaluated", lambda: evaluated(get("/api/v1/rules")))
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 10 and all(rule["health"] == "ok" for rule in rules), rules
    firing = until("an alert", lambda: [rule["name"] for rule in rules_now() if rule["state"] == "firing"])
    # Without a `for`, and there have been such messages.
    assert firing == ["CeleriacMessagesRefused"], firing


def evaluated(answer):
    groups = answer["data"]["groups"]
    return groups if all(rule["health"] != "unknown" for group in groups for rule in group["rules"]) else None


def rules_now():
    return [rule for group in get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]


with tempfile.TemporaryDirectory() as folder:
    prometheus = start(folder)
    try:
        until("it has scraped the worker", lambda: ask("celeriac_worker_ready"))
        dashboard_has_answers()
        alerts_are_asked_for()
    finally:
        prometheus.kill()
        prometheus.wait()
