"""The hub is killed while clients attach files: nothing that it acknowledged is lost, what was half there goes, and each change is told
once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from hub.client.bayeux import BayeuxClient
from hub.client.conversation import ALL
from tests.crash.receiver import Receiver
from tests.crash.test_crash import DELIVERED_WITHIN_S, ENVIRONMENT, SECRET, command
from tests.hub.storage.backends import Postgres, postgres
from tests.support.hub_process import HubProcess

__all__ = ["postgres"]

KILLS = 2
LONG_KILLS = int(os.environ.get("HUB_TEST_KILLS", "200"))
WITHIN_S = 60.0

FILES: Any = {"HUB_FILES__RESOURCE_FILES": "1000", "HUB_OBJECTS__IDLE_S": "5", "HUB_FILES__CHECK_LEASE_S": "2"}


@dataclass
class Promised:
    """What the clients were told."""

    started: dict[str, str] = field(default_factory=dict)
    """Tokens whose announcement was answered, to the ids of the files."""
    put: dict[str, bytes] = field(default_factory=dict)
    """Files whose upload was answered, to their bytes."""
    completed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    perhaps_deleted: set[str] = field(default_factory=set)
    """Files whose deletion had no answer."""
    wrong: list[str] = field(default_factory=list)
    """What was answered though it must not be."""


class Attachers:
    """Threads that attach files until they are told to end."""

    def __init__(self, url: str, key: str, threads: int, seed: int) -> None:
        self.promised = Promised()
        self._url = url
        self._headers = {"x-api-key": key}
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed + each), each), daemon=True) for each in range(threads)
        ]
        for each in self._threads:
            each.start()

    def go_on(self, more: int) -> None:
        """Return when ``more`` files than now were completed."""
        before = len(self.promised.completed)
        until = time.monotonic() + WITHIN_S
        while len(self.promised.completed) < before + more:
            if time.monotonic() > until:
                raise RuntimeError(f"{len(self.promised.completed) - before} files were completed within {WITHIN_S:.0f} s")
            time.sleep(0.002)

    def end(self) -> None:
        """Begin nothing new, and wait for what is under way."""
        self._ending.set()
        for each in self._threads:
            each.join(60)

    def _run(self, chance: random.Random, number: int) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=10) as client:
            count = 0
            while not self._ending.is_set():
                count += 1
                try:
                    self._file(client, chance, f"{number}-{count}")
                except httpx.TransportError:
                    time.sleep(0.02)  # it is dead, or has just come back

    def _file(self, client: httpx.Client, chance: random.Random, token: str) -> None:
        promised = self.promised
        content = chance.randbytes(chance.choice((1, 5_000, 300_000))).hex().encode()
        resource = {"associatedResourceArn": contact(token)}
        link = self._start(client, token, len(content), resource)
        if link is None:
            return None
        identifier = promised.started[token]
        put = client.put(link["Url"], content=content, headers=link["HeadersToInclude"])
        if put.status_code != 200:
            return self._expect(put)
        promised.put[identifier] = content
        path = f"/attached-files/acme/{identifier}"
        done = client.post(path, params=resource)
        if done.status_code != 200:
            return self._expect(done)
        promised.completed.add(identifier)
        if chance.random() < 0.2:
            promised.perhaps_deleted.add(identifier)
            gone = client.delete(path, params=resource)
            if gone.status_code == 200:
                promised.deleted.add(identifier)
            else:
                self._expect(gone)
        return None

    def _start(self, client: httpx.Client, token: str, size: int, resource: dict[str, str]) -> Any:
        """Announce a file until there is an answer: the same token is the same file."""
        body = {"FileName": "a.txt", "FileSizeInBytes": size, "FileUseCaseType": "ATTACHMENT", "ClientToken": token}
        while not self._ending.is_set():
            try:
                answer = client.put("/attached-files/acme", params=resource, json=body)
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            if answer.status_code != 200:
                self._expect(answer)
                continue
            found = answer.json()
            if self.promised.started.setdefault(token, found["FileId"]) != found["FileId"]:
                self.promised.wrong.append(f"token {token} was taken for another file")
            return found["UploadUrlMetadata"]
        return None

    def _expect(self, answer: httpx.Response) -> None:
        """A hub that stops or starts may answer 503, and nothing else."""
        if answer.status_code != 503:
            self.promised.wrong.append(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")


class FileReceiver(Receiver):
    """Remembers what webhooks say of files."""

    def take(self, headers: Any, body: bytes) -> int:
        with self._lock:
            if self._random.random() < self._fails:
                return 503
            told = orjson.loads(body)
            self.told.setdefault((told["file"]["id"], told["event"]), set()).add((headers["webhook-id"], body))
        return 200

    told: dict[tuple[str, str], set[tuple[str, bytes]]]


def contact(name: str) -> str:
    """The resource of a file that belongs to an interaction."""
    return f"arn:aws:connect:us-east-1:000000000000:instance/acme/contact/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubProcess]:
    """A hub with a tenant, on each database; not started yet."""
    flags: tuple[str, ...] = ()
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        flags = ("--database-url", server.url(asyncio.run(server.create())).replace("+psycopg", ""))
    made = HubProcess(tmp_path, flags, ENVIRONMENT | FILES)
    command(made, "tenant", "add", "acme")
    yield made
    made.close()


def campaign(hub: HubProcess, kills: int, seed: int) -> None:
    """Kill the hub ``kills`` times, then look at what is there."""
    chance = random.Random(seed)
    receiver = FileReceiver(SECRET, fails=0.1, seed=seed)
    receiver.told = {}
    command(hub, "endpoint", "add", receiver.url, "--secret", SECRET, "--type", "file.*")
    key = json.loads(command(hub, "key", "add", "load", "--role", "admin", "--json"))["key"]
    hub.start()
    clients = Attachers(hub.url, key, threads=6, seed=seed)
    try:
        for _ in range(kills):
            clients.go_on(chance.randint(5, 40))
            time.sleep(chance.uniform(0, 0.02))
            hub.kill9()
            hub.start()
        clients.go_on(5)
        clients.end()
        receiver.calm()
        expect(hub, clients.promised, receiver, key)
    finally:
        clients.end()
        receiver.close()


def expect(hub: HubProcess, promised: Promised, receiver: FileReceiver, key: str) -> None:
    assert promised.wrong == []
    names = {identifier: token for token, identifier in promised.started.items()}
    wanted: set[tuple[str, str]] = set()
    with httpx.Client(base_url=hub.url, headers={"x-api-key": key}, timeout=30) as client:
        for identifier, content in promised.put.items():
            resource = {"associatedResourceArn": contact(names[identifier])}
            found = client.get(f"/api/v1/files/{identifier}")
            if identifier in promised.perhaps_deleted and found.status_code == 404:
                continue
            assert identifier not in promised.deleted, "a deletion that was acknowledged was undone"
            assert found.status_code == 200, "an upload that was acknowledged is lost"
            if identifier not in promised.completed:
                assert client.post(f"/attached-files/acme/{identifier}", params=resource).status_code in (200, 409)
                found = until_decided(client, identifier)
            told = found.json()["data"]
            assert (told["status"], told["sha256"]) == ("APPROVED", hashlib.sha256(content).hexdigest())
            assert httpx.get(told["link"]["url"]).content == content
            wanted |= {(identifier, "UPLOADED"), (identifier, "APPROVED")}
        for identifier in promised.deleted:
            assert client.get(f"/api/v1/files/{identifier}").status_code == 404
            wanted |= {(identifier, event) for event in ("UPLOADED", "APPROVED", "DELETED")}
    until = time.monotonic() + DELIVERED_WITHIN_S
    while not wanted <= receiver.told.keys() and time.monotonic() < until:
        time.sleep(0.05)
    assert wanted - receiver.told.keys() == set()
    assert {key: versions for key, versions in receiver.told.items() if len(versions) > 1} == {}, "a repeat is the same event"
    heard = asyncio.run(logged(hub, key, len(wanted)))
    assert {each: times for each, times in heard.items() if times > 1} == {}, "the channels of the hub have each change once"
    assert wanted <= heard.keys()


def until_decided(client: httpx.Client, identifier: str) -> httpx.Response:
    """The file, once it is decided."""
    until = time.monotonic() + WITHIN_S
    while True:
        found = client.get(f"/api/v1/files/{identifier}")
        if found.json()["data"]["status"] != "PROCESSING" or time.monotonic() > until:
            return found
        time.sleep(0.05)


async def logged(hub: HubProcess, key: str, least: int) -> dict[tuple[str, str], int]:
    """How often each change of a file is on the channels of interactions."""
    heard: dict[tuple[str, str], int] = {}
    async with BayeuxClient(hub.url, api_key=key) as client, client.subscribe("/nexus/v3/interactions/**", replay=ALL) as messages:
        try:
            while True:
                async with asyncio.timeout(WITHIN_S if len(heard) < least else 2):
                    message = await anext(messages)
                told = message.data
                if message.channel.endswith("/files"):
                    about = (told["file"]["id"], told["event"])
                    heard[about] = heard.get(about, 0) + 1
        except TimeoutError:
            return heard
    return heard


def stored(hub: HubProcess) -> set[str]:
    """The objects of files in the folder of the hub."""
    folder = hub.data_dir / "objects"
    return {str(each.relative_to(folder)) for each in (folder / "files").rglob("*") if each.is_file()}


@pytest.mark.timeout(2 * DELIVERED_WITHIN_S + 120)
def test_files_that_were_acknowledged_are_kept_and_told_of_once(hub: HubProcess) -> None:
    campaign(hub, KILLS, seed=3)


@pytest.mark.timeout(2 * DELIVERED_WITHIN_S + 120)
def test_what_was_half_there_is_swept(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path, (), ENVIRONMENT | FILES)
    command(hub, "tenant", "add", "acme")
    campaign(hub, KILLS, seed=5)
    hub.stop()
    with sqlite3.connect(hub.data_dir / "hub.db") as database:
        kept = {row[0] for row in database.execute("SELECT object_key FROM files WHERE object_key IS NOT NULL")}
        # the clocks of the uploads go back: nobody waits two hours
        database.execute("UPDATE files SET link_ends_ms = 0 WHERE decided_ms IS NULL")
        undecided = {row[0] for row in database.execute("SELECT object_key FROM files WHERE decided_ms IS NULL AND object_key IS NOT NULL")}
    database.close()
    orphan = hub.data_dir / "objects" / "files" / "aa" / "orphan"
    orphan.mkdir(parents=True)
    (orphan / "0").write_bytes(b"x")
    for each in stored(hub):
        os.utime(hub.data_dir / "objects" / each, (0, 0))
    hub.start()
    until = time.monotonic() + WITHIN_S
    while stored(hub) != kept - undecided and time.monotonic() < until:
        time.sleep(0.05)
    assert stored(hub) == kept - undecided
    hub.close()


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_files_that_were_acknowledged_are_kept_hundreds_of_times(hub: HubProcess) -> None:
    campaign(hub, LONG_KILLS, seed=random.randrange(1 << 30))
