"""Publishers and producers that go on while hubs die and stop beneath them, and remember what was acknowledged."""

from __future__ import annotations

import itertools
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import httpx

from tests.cluster.hubs import Tenant

ACCEPTED_WITHIN_S = 120.0
AGAIN_AFTER_S = 0.1
RETRIED = frozenset({429, 500, 502, 503, 504})


class Load(ABC):
    """One thread that sends one thing after the other, each until it is acknowledged, to one balancer after the other."""

    def __init__(self, urls: Sequence[str], tenant: Tenant, *, every_s: float) -> None:
        self._urls = itertools.cycle(urls)
        self._tenant = tenant
        self._every_s = every_s
        self._ending = threading.Event()
        self.repeated = 0
        """Requests that were sent again, since no answer or a refusal for now came."""
        self.fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @abstractmethod
    def send(self, http: httpx.Client, url: str, number: int) -> httpx.Response:
        """Send the thing of this number, the same each time."""

    @abstractmethod
    def done(self, number: int, response: httpx.Response) -> None:
        """It was acknowledged."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many were acknowledged."""

    def _run(self) -> None:
        try:
            with httpx.Client(headers=self._tenant.headers, timeout=15) as http:
                for number in itertools.count():
                    if self._ending.is_set():
                        return
                    self._until_done(http, number)
                    self._ending.wait(self._every_s)
        except Exception as fault:  # shown to the test, which runs in another thread
            self.fault = fault

    def _until_done(self, http: httpx.Client, number: int) -> None:
        end = time.monotonic() + ACCEPTED_WITHIN_S
        while True:
            try:
                response = self.send(http, next(self._urls), number)
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if response.status_code == httpx.codes.OK:
                    self.done(number, response)
                    return
                said = f"{response.status_code} {response.text[:500]}"
                if response.status_code not in RETRIED:
                    raise AssertionError(f"number {number} was refused for good: {said}")
            self.repeated += 1
            if time.monotonic() > end:
                raise AssertionError(f"number {number} was not accepted within {ACCEPTED_WITHIN_S:.0f} s: {said}")
            time.sleep(AGAIN_AFTER_S)

    def go_on(self, more: int) -> None:
        """Return when ``more`` than now were acknowledged."""
        before = self.count
        end = time.monotonic() + ACCEPTED_WITHIN_S
        while self.count < before + more:
            self.check()
            assert time.monotonic() < end, f"{self.count - before} were acknowledged within {ACCEPTED_WITHIN_S:.0f} s"
            time.sleep(0.01)

    def check(self) -> None:
        """Raise what ended the thread."""
        if self.fault is not None:
            raise self.fault

    def stop(self) -> None:
        """Begin nothing new, and wait for what is under way."""
        self._ending.set()
        self._thread.join(ACCEPTED_WITHIN_S + 20)

    def end(self) -> None:
        """The same, and raise what ended the thread before."""
        self.stop()
        self.check()


class Publisher(Load):
    """Publishes ``{"event": {"n": 0}}``, 1, 2, ... on a log channel, each under an id."""

    def __init__(self, urls: Sequence[str], tenant: Tenant, channel: str, *, every_s: float = 0.02) -> None:
        self._channel = channel
        self._name = f"{channel}-{time.monotonic_ns()}"
        self.numbers: list[int] = []
        """Those that were acknowledged."""
        self.positions: dict[int, int] = {}
        """Their positions. A message that was sent again, since the hub died that had recorded it, may have none in its answer."""
        super().__init__(urls, tenant, every_s=every_s)

    def send(self, http: httpx.Client, url: str, number: int) -> httpx.Response:
        body = {"channel": self._channel, "data": {"event": {"n": number}}, "id": f"{self._name}-{number}"}
        return http.post(f"{url}/api/v1/publish", json=body)

    def done(self, number: int, response: httpx.Response) -> None:
        self.numbers.append(number)
        if (position := response.json()["data"].get("position")) is not None:
            self.positions[number] = position

    @property
    def count(self) -> int:
        return len(self.numbers)


class Producer(Load):
    """Sends the events of one call after the other, three a call, in one batch: queued, established, released."""

    def __init__(self, urls: Sequence[str], tenant: Tenant, queue: str, agent: str, *, every_s: float = 0.05) -> None:
        self.queue = queue
        self.agent = agent
        self.calls = 0
        """Calls whose events were accepted."""
        self.accepted = 0
        self.duplicates = 0
        self._source = f"/{queue}/{time.monotonic_ns()}"
        self._times: dict[int, float] = {}
        super().__init__(urls, tenant, every_s=every_s)

    def send(self, http: httpx.Client, url: str, number: int) -> httpx.Response:
        # the same events, byte for byte, each time that they are sent
        now = self._times.setdefault(number, time.time())
        call = f"{self.queue}-{number}"
        events = [
            self._event(call, "queued", now, {"interactionId": call, "queue": self.queue}),
            self._event(call, "ringing", now + 0.001, {"interactionId": call, "agentId": self.agent, "queue": self.queue}),
            self._event(
                call,
                "established",
                now + 0.002,
                {"interactionId": call, "agentId": self.agent, "queue": self.queue, "callType": "inbound"},
            ),
            self._event(call, "released", now + 0.003, {"interactionId": call, "agentId": self.agent}),
        ]
        return http.post(f"{url}/ingest/v1/events", json=events, headers={"Content-Type": "application/cloudevents-batch+json"})

    def _event(self, call: str, kind: str, at: float, data: dict[str, Any]) -> dict[str, Any]:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"
        head = {"specversion": "1.0", "id": f"{call}-{kind}", "source": self._source, "time": stamp}
        return {**head, "type": f"cx.interaction.{kind}", "data": data}

    def done(self, number: int, response: httpx.Response) -> None:
        data = response.json()["data"]
        self.calls += 1
        self.accepted += data["accepted"]
        self.duplicates += data["duplicates"]

    @property
    def count(self) -> int:
        return self.calls
