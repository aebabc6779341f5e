"""Media storage: what a page of a listing costs, out of a million keys.

The keys are written into the hub's database by itself; their objects do not exist, which a listing does not look at.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import random
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from bench.machine import cpu_us, median
from bench.result import Result, Row, Size, goal
from bench.servers import Hub
from hub.objects.local import LocalStore

KEYS: Final = 1_000_000
PAGE: Final = 1_000
CPU_MS: Final = 20.0
_FOLDERS: Final = 400
_CALLS: Final = 20


def media_keys(size: Size) -> Result:
    """See the module."""
    result = Result("media-keys")
    keys = KEYS if size.full else 3_000
    hub = Hub({"HUB_SIMULATOR__AGENTS": "2", "HUB_SIMULATOR__LOAD": "0.001"}, ("--demo",))  # only the calls are to cost something
    try:
        _fill(hub.process.data_dir / "hub.db", keys)
        for kind, version, what in (
            ("file", 3, "all files below a folder, with their total"),
            ("file", 2, "all files below a folder"),
            ("file:directory", 3, "the files and folders of a folder"),
            ("directory", 3, "the folders below a folder"),
        ):
            spent, took = _pages(hub, kind, version, keys, size)
            told = f"a page of {PAGE:,} out of {keys:,} keys: {what} (version {version})"
            cpu = Row(told, "CPU of the hub", median(spent), "ms")
            if kind == "file":
                goal(cpu, size, f"at most {CPU_MS:g} ms", cpu.value <= CPU_MS)
            result.rows += [cpu, Row(told, "time", median(took), "ms")]
            result.detail[f"{kind}, version {version}"] = {"cpu_ms": spent, "ms": took}
    finally:
        hub.close()
    result.rows.append(_store_listing(size))
    return result


def _key(number: int) -> str:
    # no name begins as another does for long, so that a page spans several folders
    return f"exports/reporting/intraday/dt={number % _FOLDERS:04}/calls-{number:07}.ndjson.gz"


def _fill(path: Path, keys: int) -> None:
    """Write the keys, in one transaction."""
    with sqlite3.connect(path, timeout=60) as database:
        now_ms = time.time_ns() // 1_000_000
        database.executemany(
            "INSERT INTO media_objects (tenant, path, folder, top, object, size, md5, sha256, modified_ms)"
            " VALUES ('demo', ?, ?, 'exports', ?, ?, ?, ?, ?)",
            (
                (key, f"{key.rpartition('/')[0]}/", f"{number:036}", number, "0" * 32, "0" * 64, now_ms)
                for number, key in ((number, _key(number)) for number in range(keys))
            ),
        )
    database.close()


def _pages(hub: Hub, kind: str, version: int, keys: int, size: Size) -> tuple[list[float], list[float]]:
    """CPU and time of pages from anywhere in the folder, in ms."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port)
    chosen = random.Random(1)  # noqa: S311  the same pages each time
    name = "nextToken" if version == 3 else "continuationToken"
    folder = {"file": "exports/", "directory": "exports/", "file:directory": "exports/reporting/intraday/dt=0001/"}[kind]

    def page() -> int:
        query = {"key": folder, "keyType": kind, "maxResults": PAGE}
        if kind == "file":
            query[name] = base64.b64encode(_key(chosen.randrange(keys)).encode()).decode()
        path = f"/via/v{version}/organizations/demo/mediaStorage/data/objectKeys?{urlencode(query)}"
        connection.request("GET", path, headers={"Authorization": "Bearer demo-token"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"expected a listing, got {answer.status}: {body[:200]!r}")
        return len(json.loads(body)["objectKeys"])

    spent, took = [], []
    for _ in range(3):
        page()
    for _ in range(_CALLS if size.full else 2):
        before, began = cpu_us(hub.pid), time.perf_counter()
        page()
        took.append((time.perf_counter() - began) * 1000)
        spent.append((cpu_us(hub.pid) - before) / 1000)
    connection.close()
    return spent, took


def _store_listing(size: Size) -> Row:
    """What the store itself takes for a page, which is why the keys have a table of their own."""
    files = 20_000 if size.full else 200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(files):
            path = folder / _key(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        store = LocalStore(folder)
        before = time.process_time()
        asyncio.run(store.objects("exports/", _key(0), PAGE))
        spent = (time.process_time() - before) * 1000
    return Row(f"a page of {PAGE:,} out of {files:,} files: the folder itself", "CPU", spent, "ms")
