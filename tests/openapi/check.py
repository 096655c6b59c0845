"""Checks the description of the API, and the service by it: once for the administration, once for a tenant.

Starts the simulated site and the service itself, on free ports and in a directory of its own. Takes the directories of
the programs and of the tools.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).parent
# Of each pass, in seconds.
TIME = 90
PATIENCE = 60


def started(command, log, environment=None):
    with open(log, "w") as out:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment)


def found(log, pattern):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if match := re.search(pattern, log.read_text()):
            return match.group(1)
        time.sleep(0.05)
    sys.exit(f"{pattern} does not come in {log}:\n{log.read_text()}")


class Client:
    def __init__(self, address, key):
        self.address, self.key = address, key

    def ask(self, path, body=None):
        request = urllib.request.Request(
            f"{self.address}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self.key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)


def scene(administration, tenant, source):
    """A tenant with a synced source: its key, and what generated requests may meet."""
    administration.ask("tenants", {"id": tenant, "name": tenant})
    client = Client(administration.address, administration.ask("keys", {"name": "k", "tenant_id": tenant})["key"])
    source_id = client.ask("sources", source)["id"]
    run_id = client.ask(f"sources/{source_id}/runs", {})["id"]
    until = time.monotonic() + PATIENCE
    while client.ask(f"sources/{source_id}/runs/{run_id}")["state"] != "completed":
        if time.monotonic() > until:
            sys.exit("the first run does not end")
        time.sleep(0.1)
    document = client.ask("documents?limit=1")["documents"][0]
    ids = {"source_id": source_id, "run_id": run_id, "before": run_id, "document_id": document["id"]}
    return client, {"ids": ids, "source": source, "space": document["metadata"]["space_key"]}


def check(tools, client, scene, directory):
    scene["cursor"] = client.ask("changes?limit=1")["cursor"]
    command = [
        tools / "venv/bin/schemathesis", "--config-file", HERE / "schemathesis.toml", "run",
        f"{client.address}/openapi.json", "--header", f"Authorization: Bearer {client.key}", "--max-time", str(TIME),
    ]
    # What it keeps goes with the directory.
    environment = {"SCENE": json.dumps(scene), "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=directory, env=os.environ | environment).returncode == 0


def main(programs, tools):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        site_log, service_log = directory / "site.log", directory / "service.log"
        site = started([programs / "confluence-site", "--pages", "12", "--page-bytes", "300"], site_log)
        serve = ["serve", "--allow-local", "--listen", "127.0.0.1:0", "--data", directory / "data", "--log", "warn"]
        environment = os.environ | {"XDG_CONFIG_HOME": str(directory)}
        service = started([programs / "kai", *serve], service_log, environment)
        try:
            source = {
                "kind": "CONFLUENCE",
                "base_url": found(site_log, r"base URL +(\S+)\n"),
                "email": found(site_log, r"email +(\S+)\n"),
                "api_token": found(site_log, r"API token +(\S+)\n"),
            }
            address = found(service_log, r"the service is at (\S+)/\n")
            administration = Client(address, found(service_log, r"not shown again: (\S+)\n"))
            description = directory / "openapi.json"
            with urllib.request.urlopen(f"{address}/openapi.json", timeout=PATIENCE) as answer:
                description.write_bytes(answer.read())
            lint = [tools / "node_modules/.bin/redocly", "lint", "--config", HERE / "redocly.yaml", "--max-problems", "50"]
            good = subprocess.run([*lint, "--lint-config", "error", description], cwd=HERE).returncode == 0
            tenant, met = scene(administration, "first", source)
            good = check(tools, administration, met, directory) and good
            # What the first pass left of it is not known.
            tenant, met = scene(administration, "second", source)
            good = check(tools, tenant, met, directory) and good
            service.send_signal(signal.SIGTERM)
            ended = service.wait(PATIENCE)
            log = service_log.read_text()
            faults = [line for line in log.splitlines() if re.search(r"ERROR|panicked", line)]
            if ended != 0 or faults:
                print(f"the service ended with {ended}", *faults[:20], sep="\n")
                good = False
        finally:
            site.kill()
            service.kill()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()))
