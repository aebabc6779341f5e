"""Files: how many are announced, uploaded, completed and looked at in a second, by the calls of Amazon's clients, and what each costs.

The client signs each request as such a client does, with the hub's own code, and keeps its connections; it uses no SDK, which alone would
need more CPU than the hub.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bench.machine import cpu_us, median, pin
from bench.result import Result, Row, Size, goal
from bench.servers import SERVER_CORE, UNLIMITED
from hub.objects.sigv4 import Credentials, Target, sign
from tests.support.hub_process import HubProcess

WORKERS = 8
"""Files at a time: their commits share the disk."""

FILES = 150.0
CONTENT = b"What the customer wrote.\n" * 410
"""10 KiB of text."""

TENANT = "bench"
TARGET = Target("eu-central-1", "connect")

_JSON: Mapping[str, str] = {"content-type": "application/json"}


def files(size: Size) -> Result:
    """See the module."""
    result = Result("files")
    with _house() as (hub, key):
        _rates(hub, key, max(0.2, size.seconds / 10))  # first connections, first look-ups
        runs = [_rates(hub, key, max(0.3, size.seconds / 2)) for _ in range(size.runs)]
    what = f"files of {len(CONTENT) / 1024:.0f} KiB on SQLite: start, PUT, complete, get; {WORKERS} at a time"
    rate = Row(what, "files/s", median(run["rate"] for run in runs), "")
    result.rows += [
        goal(rate, size, f"at least {FILES:g}", rate.value >= FILES),
        Row(what, "CPU of the hub a file, all four requests", median(run["cpu_ms"] for run in runs), "ms"),
    ]
    result.detail |= {name: [run[name] for run in runs] for name in ("rate", "cpu_ms")}
    return result


@contextmanager
def _house() -> Iterator[tuple[HubProcess, Credentials]]:
    environment = {"HUB_LOG_LEVEL": "warning", "HUB_FILES__TENANT_FILES": "10000000", **UNLIMITED}
    with tempfile.TemporaryDirectory() as folder:
        hub = HubProcess(Path(folder), (), environment)
        try:
            hub.command("tenant", "add", TENANT)
            made = json.loads(hub.command("key", "add", "bench", "--role", "admin", "--aws", "--json"))
            hub.start()
            pin(hub.process.pid, SERVER_CORE)
            yield hub, Credentials(made["access_key_id"], made["secret_access_key"])
        finally:
            hub.close()


def _rates(hub: HubProcess, key: Credentials, seconds: float) -> dict[str, float]:
    before, began = cpu_us(hub.process.pid), time.monotonic()
    with ThreadPoolExecutor(WORKERS) as threads:
        done = sum(threads.map(lambda worker: _attach(hub.port, key, f"{began}-{worker}", began + seconds), range(WORKERS)))
    took, spent = time.monotonic() - began, cpu_us(hub.process.pid) - before
    return {"rate": done / took, "cpu_ms": spent / done / 1000}


def _attach(port: int, key: Credentials, name: str, until: float) -> int:
    """Attach files until a time. Returns how many. Each case gets 50."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    done = 0
    new = json.dumps({"FileName": "letter.txt", "FileSizeInBytes": len(CONTENT), "FileUseCaseType": "ATTACHMENT"}).encode()
    while time.monotonic() < until:
        query = f"?associatedResourceArn={quote(f'arn:aws:cases:us-east-1:000000000000:domain/hub/case/{name}-{done // 50}', safe='')}"
        file = _signed(connection, key, "PUT", f"/attached-files/{TENANT}{query}", new)
        upload = file["UploadUrlMetadata"]
        link = urlsplit(upload["Url"])
        _ask(connection, "PUT", f"{link.path}?{link.query}", CONTENT, upload["HeadersToInclude"])
        path = f"/attached-files/{TENANT}/{file['FileId']}{query}"
        _signed(connection, key, "POST", path)
        if _signed(connection, key, "GET", path)["FileStatus"] != "APPROVED":
            raise SystemExit("a file was completed, and is not approved")
        done += 1
    connection.close()
    return done


def _signed(connection: http.client.HTTPConnection, key: Credentials, method: str, target: str, body: bytes = b"") -> dict[str, Any]:
    url = f"http://127.0.0.1:{connection.port}{target}"
    headers = sign(method, url, _JSON if body else {}, hashlib.sha256(body).hexdigest(), key, TARGET, time.time())
    found: dict[str, Any] = json.loads(_ask(connection, method, target, body, headers))
    return found


def _ask(connection: http.client.HTTPConnection, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    connection.request(method, target, body, dict(headers))
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{method} {target.partition('?')[0]} answered {answer.status}: {said.decode()}")
    return said
