"""Two workers that write to one SQLite file are killed again and again under load, and so is the Valkey between them."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.hubs import Tenant
from tests.cluster.listeners import Dashboard, Listeners, Reader
from tests.cluster.load import Producer, Publisher
from tests.crash.load import Clients
from tests.crash.receiver import Receiver
from tests.crash.test_crash import ENVIRONMENT, SECRET, command, expect
from tests.hub.workers.hubs import WorkersHub
from tests.hub.workers.parents import kill, until
from tests.support.hub_process import HubProcess

KILLS = 2
LONG_KILLS = int(os.environ.get("HUB_TEST_KILLS", "200"))
CHANNEL = "/log/workers"
FOR_NOW = {429, 503}

pytestmark = pytest.mark.timeout(480)


class SignIns:
    """A thread that signs in with a token, again and again, on connections of their own."""

    def __init__(self, url: str, token: str) -> None:
        self.done = 0
        self.wrong: list[str] = []
        """Answers that are neither a sign-in nor a refusal for now."""
        self._url = url
        self._token = token
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._ending.wait(0.02):
            try:
                answer = httpx.post(f"{self._url}/api/v1/sign-in", json={"token": self._token}, timeout=20)
            except httpx.TransportError:
                continue
            if answer.status_code == httpx.codes.OK:
                self.done += 1
            elif answer.status_code not in FOR_NOW or "database" in answer.text:
                self.wrong.append(f"{answer.status_code} {answer.text}")


class Load:
    """A hub of two workers on SQLite, with a tenant, under load: interactions with webhooks, sign-ins, events, and messages of a log."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.hub = WorkersHub(folder, **ENVIRONMENT | {"HUB_REPLAY__CHANNELS": "/log/**", "HUB_LOG_LEVEL": "info"})
        self.process: HubProcess = self.hub.process
        files = HubProcess(folder, (), ENVIRONMENT)  # for commands: the flags of the hub are none of theirs
        command(files, "tenant", "add", "acme")
        self.receiver = Receiver(SECRET, fails=0.1, seed=seed)
        command(files, "endpoint", "add", self.receiver.url, "--secret", SECRET)
        self.key = json.loads(command(files, "key", "add", "load", "--role", "admin", "--json"))["key"]
        token = json.loads(command(files, "token", "add", "boss", "--role", "admin", "--json"))["token"]
        self.acme = Tenant("acme", token, self.key)
        self.hub.start()
        self.listeners = Listeners()
        self.heard = [kind(self.process.url, token, CHANNEL) for kind in (Dashboard, Reader) for _ in range(3)]
        self.listeners.open(self.heard)
        self.publisher = Publisher([self.process.url], self.acme, CHANNEL)
        self.producer = Producer([self.process.url], self.acme, "support", "ann")
        self.sign_ins = SignIns(self.process.url, token)
        self.clients = Clients(self.process.url, self.key, threads=6, seed=seed, keep_alive=False, pause_s=0.2)

    def go_on(self, more: int) -> None:
        """Return when so much more of everything was acknowledged."""
        self.clients.go_on(more)
        self.publisher.go_on(more)
        self.producer.go_on(2)

    def written(self, worker: str) -> float:
        """Operations that a worker has written to the database."""
        return self.hub.metrics().get(("hub_database_operations_total", worker), 0)

    def end(self) -> None:
        """Nothing new from now on, and everything that was promised is there."""
        for each in (self.publisher, self.producer):
            each.end()
        self.clients.end()
        self.sign_ins.end()
        self.receiver.calm()
        expect(self.process, self.clients, self.receiver, self.key)
        assert not [text for text in self.clients.promised.faults if "database" in text or "locked" in text]
        assert self.sign_ins.wrong == []
        assert self.sign_ins.done
        assert self.hub.logged("database_in_trouble") == []
        self._every_message_once()
        assert self.producer.accepted + self.producer.duplicates == self.producer.calls * 4
        assert until(lambda: self._answered() == self.producer.calls, f"{self.producer.calls} answered calls")

    def _every_message_once(self) -> None:
        """By those who listened all the time, and by one who reads the whole log now."""
        late = Dashboard(self.process.url, self.acme.token, CHANNEL)
        late.since = first = min(self.publisher.positions.values()) - 1
        self.listeners.open([late])
        last = self.publisher.numbers[-1]
        for each in (*self.heard, late):
            until(lambda each=each: each.heard and each.heard[-1][1]["event"]["n"] >= last, "the last message")  # type: ignore[misc]
            numbers = [data["event"]["n"] for _, data in each.heard]
            assert numbers == sorted(set(numbers))
            assert set(self.publisher.numbers) <= set(numbers)
            assert each.lost == 0, f"{each} opened {each.opened} times; {each is late} {first} {numbers[:3]} {self.publisher.positions}"
            for position, data in each.heard:
                assert self.publisher.positions.get(data["event"]["n"], position) == position

    def _answered(self) -> int | None:
        url = f"{self.process.url}/statistics/v3/statistic-values/TotalAnswered"
        answer = httpx.get(url, params={"objectId": "support", "objectType": "Queue"}, headers=self.acme.headers, timeout=20)
        return int(answer.json()["data"]["statistic"]["value"]["intValue"]) if answer.status_code == httpx.codes.OK else None

    def close(self) -> None:
        self.clients.end()
        self.sign_ins.end()
        self.publisher.stop()
        self.producer.stop()
        self.listeners.close()
        self.receiver.close()
        self.process.close()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    made = Load(tmp_path, seed=13)
    yield made
    made.close()


def campaign(load: Load, kills: int, seed: int) -> None:
    """Kill the workers in turn, at moments that ``seed`` decides."""
    chance = random.Random(seed)
    load.go_on(12)
    until(lambda: load.written("0") > 12 and load.written("1") > 12, "writes of both workers")
    for number in range(kills):
        load.go_on(chance.randint(6, 30))
        before = len(load.hub.logged("worker_restarted"))
        kill(load.hub.worker(number % 2))
        load.go_on(chance.randint(6, 30))
        until(lambda before=before: len(load.hub.logged("worker_restarted")) > before, "the successor")  # type: ignore[misc]
    load.go_on(12)
    load.end()


def test_two_workers_that_write_at_once_lose_nothing_when_each_is_killed(load: Load) -> None:
    campaign(load, KILLS, seed=17)


def test_messages_that_were_acknowledged_outlive_the_server_between_the_workers(load: Load) -> None:
    load.go_on(12)
    for again in itertools.count(1):
        (valkey,) = load.hub.valkeys()
        acknowledged = load.publisher.count
        kill(valkey)
        until(lambda again=again: len(load.hub.logged("valkey_restarted")) == again, "the new Valkey")  # type: ignore[misc]
        load.go_on(20)
        assert load.publisher.count > acknowledged
        if again == KILLS:
            break
    load.end()


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_two_workers_lose_nothing_when_they_are_killed_hundreds_of_times(load: Load) -> None:
    campaign(load, LONG_KILLS, seed=time.time_ns())
