"""Personal updates: many logins have a subscription each to the same statistics, which all change every second."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.generator import Generator
from bench.machine import cpu_us, pin
from bench.result import Result, Row, Size, goal
from bench.servers import GENERATOR_CORE, SERVER_CORE, UNLIMITED
from tests.support.hub_process import HubProcess, clean_environment, hub_command

STATISTICS = 50
UPDATES = "/statistics/v3/updates"
EVERY_S = 1.0
LIMIT_MS = 50
_ALL_OF_ONE_SUBJECT = {"HUB_STATISTICS__MAX_SUBJECT_STATISTICS": "100000"}
_WAITING = {
    "notificationMode": "Immediate",
    "insensitivity": 1,
    "category": "CurrentNumber",
    "subject": "DNAction",
    "mainMask": "CallWait",
    "intervalType": "GrowingWindow",
}


class _House:
    """A hub with a tenant and a token, and its REST calls."""

    def __init__(self, folder: Path) -> None:
        self._process = HubProcess(folder, (), {"HUB_LOG_LEVEL": "warning", **UNLIMITED, **_ALL_OF_ONE_SUBJECT})
        self._command("tenant", "add", "bench")
        self.token = json.loads(self._command("token", "add", "bench", "--role", "admin", "--json"))["token"]
        self._process.start()
        self.pid = self._process.process.pid
        self.port = int(self._process.url.rsplit(":", 1)[1])
        pin(self.pid, SERVER_CORE)

    def _command(self, *words: str) -> str:
        command = [str(hub_command()), *words, "--data-dir", str(self._process.data_dir)]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout

    def headers(self, login: int) -> dict[str, str]:
        """Return the headers of one login: all share the token, and each has a cookie of its own."""
        return {"Authorization": f"Bearer {self.token}", "Cookie": f"STATISTICS_SESSIONID={login:032x}"}

    def connection(self) -> http.client.HTTPConnection:
        """Open a connection for :func:`_post`."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def close(self) -> None:
        """End it."""
        self._process.close()


def _post(connection: http.client.HTTPConnection, path: str, body: object, headers: dict[str, str]) -> None:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"{path} answered {answer.status}: {said.decode()}")


class _Feed(threading.Thread):
    """Sends the events: each queue gets a waiting call every second, either all queues at once or evenly spread over the second."""

    def __init__(self, house: _House, since_ns: int, interval_s: float, at_once: int) -> None:
        super().__init__(daemon=True)
        self._house = house
        self._since_ns = since_ns
        self._interval_s = interval_s
        self._at_once = at_once
        self._stopping = threading.Event()
        self.late = 0
        """The number of batches that were sent more than 5 ms late."""

    def run(self) -> None:
        connection = self._house.connection()
        batch = 0
        while True:
            due = self._since_ns / 1e9 + batch * self._interval_s
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                break
            self.late += time.monotonic() - due > 0.005
            numbers = range(batch * self._at_once, (batch + 1) * self._at_once)
            _post(connection, "/ingest/v1/events", [_event(number, self._since_ns) for number in numbers], self._house.headers(0))
            batch += 1
        connection.close()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self.join()


def _event(number: int, feed: int) -> dict[str, object]:
    data = {"interactionId": f"{feed}-{number}", "queue": f"queue{number % STATISTICS}"}
    return {"specversion": "1.0", "id": f"{feed}-{number}", "source": "/bench", "type": "cx.interaction.queued", "data": data}


@contextmanager
def _subscribed(logins: int) -> Iterator[tuple[_House, Generator]]:
    """Start a hub with logins that have subscribed and listen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        house = _House(folder)
        generator = Generator(GENERATOR_CORE)
        try:
            lines = ["\r\t".join(f"{key}: {value}" for key, value in house.headers(login).items()) for login in range(logins)]
            (folder / "headers").write_bytes("".join(f"{line}\n" for line in lines).encode())
            words = {"proto": "bayeux-ws", "port": house.port, "path": "/statistics/v3/notifications", "headers": folder / "headers"}
            statistics = [
                {"statisticId": f"q{number}", "objectId": f"queue{number}", "objectType": "Queue", "definition": _WAITING}
                for number in range(STATISTICS)
            ]
            connection = house.connection()
            generator("open", group="s", count=logins, channel=UPDATES, **words)
            for login in range(logins):
                body = {"operationId": "board", "data": {"statistics": statistics}}
                _post(connection, "/statistics/v3/subscriptions?verbose=OFF", body, house.headers(login))
            connection.close()
            yield house, generator
        finally:
            generator.close()
            house.close()


def personal(size: Size) -> Result:
    """Each login gets each statistic once a second."""
    result = Result("personal updates")
    what = f"{size.clients:,} logins, {STATISTICS} statistics each, "
    with _subscribed(size.clients) as (house, generator):
        for manner, at_once in (("all change together every second", STATISTICS), ("each changes at a moment of its own", 1)):
            interval_s = EVERY_S * at_once / STATISTICS
            seconds = max(3.0, size.seconds)
            since_ns = time.monotonic_ns() + 300_000_000
            feed = _Feed(house, since_ns, interval_s, at_once)
            feed.start()
            generator("idle", seconds=1.3)
            before = cpu_us(house.pid)
            step_us = 0 if at_once > 1 else round(interval_s * 1e6)
            words = {"since_ns": since_ns, "step_us": step_us, "interval_us": round(EVERY_S * 1e6), "seconds": seconds}
            run = generator("watch", group="s", text='"statisticId":"q', **words)
            core = (cpu_us(house.pid) - before) / 1e4 / run["seconds"]
            feed.stop()
            generator("idle", seconds=1.0)
            rate = run["deliveries"] / run["seconds"]
            wanted = size.clients * STATISTICS / EVERY_S
            sustained = rate >= 0.98 * wanted
            row = Row(what + manner, "p99", run["p99_ms"], "ms")
            result.rows += [
                Row(what + manner, "values/s", rate, "" if sustained else f", NOT sustained: {wanted:,.0f} change"),
                Row(what + manner, "share of a core", core, "%"),
                Row(what + manner, "server CPU a value", core * 1e4 / rate if rate else 0.0, "us"),
                goal(row, size, f"sustained, below {LIMIT_MS} ms", sustained and run["p99_ms"] < LIMIT_MS),
            ]
            result.detail[manner] = {**run, "late": feed.late}
    return result
