"""The hub is killed again and again while attachments come, and while it moves those of an earlier version into the object store: each one
that was ever accepted stays readable, whole.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest

from channels.secure_email.moves import PAUSE_S
from tests.hub.storage.backends import Postgres, postgres
from tests.support.hub_process import HubProcess, clean_environment, run_hub

__all__ = ["postgres"]

ANA = "ana@example.com"
MAILS = "/nexus/v3/securemail"
WITHIN_S = 120.0

OLD = 24
"""Mails of an earlier version, with two attachments each: moving them takes seconds, in which the hub is killed."""

KILLS = 4


class Database:
    """What a test asks of the hub's database beside the hub, which may run."""

    def __init__(self, hub: HubProcess, url: str | None) -> None:
        self._path = hub.data_dir / "hub.db"
        self._url = url

    def run(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        if self._url is None:
            with closing(sqlite3.connect(self._path, timeout=30)) as connection, connection:
                return connection.execute(sql, parameters).fetchall()
        with psycopg.connect(self._url) as server:
            cursor = server.execute(sql.replace("?", "%s").encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def unmoved(self) -> int:
        """How many attachments are in the database."""
        ((count,),) = self.run("SELECT count(*) FROM secure_mail_attachments WHERE object IS NULL")
        return int(str(count))


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[HubProcess, Database]]:
    """A hub with a tenant, on each database; not started yet."""
    flags: tuple[str, ...] = ()
    url = None
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(asyncio.run(server.create()))
        flags = ("--database-url", url)
    made = HubProcess(tmp_path, flags, {"HUB_OBJECTS__URL": f"file://{tmp_path / 'objects'}", "HUB_LOG_LEVEL": "warning"})
    done = run_hub(["tenant", "add", "acme", "--data-dir", str(made.data_dir), *flags], made.folder, clean_environment(made.environment))
    assert done.returncode == 0, done.stderr
    yield made, Database(made, url)
    made.close()


def picture(number: int) -> bytes:
    """Bytes that are a picture, of some size, and no two alike."""
    chance = random.Random(number)
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + chance.randbytes(chance.randint(10_000, 200_000))


def send(client: httpx.Client, number: int) -> str:
    """Send a mail with two attachments. Returns its id."""
    files = [{"filename": f"{each}.png", "content": base64.b64encode(picture(each)).decode()} for each in (number, number + 1)]
    answer = client.post(MAILS, json={"data": {"from": ANA, "text": str(number), "attachments": files}})
    answer.raise_for_status()
    return str(answer.json()["secureMailId"])


def expect(client: httpx.Client, mails: dict[str, int]) -> None:
    """Each mail has its two attachments, whole."""
    for identifier, number in mails.items():
        found = client.get(f"{MAILS}/{identifier}").json()["secureMail"]["attachments"]
        assert [base64.b64decode(each["content"]) for each in found] == [picture(number), picture(number + 1)], identifier
        assert client.get(f"{MAILS}/{identifier}/attachments/2").content == picture(number + 1)


@pytest.mark.timeout(2 * WITHIN_S + 120)
def test_no_attachment_is_lost(hub: tuple[HubProcess, Database]) -> None:
    process, database = hub
    flags = ["--data-dir", str(process.data_dir), *process.flags]
    made = run_hub(["key", "add", "crash", "--role", "admin", "--json", *flags], process.folder, clean_environment(process.environment))
    assert made.returncode == 0, made.stderr
    process.start()
    mails: dict[str, int] = {}
    number = 0
    chance = random.Random(17)
    with httpx.Client(base_url=process.url, headers={"x-api-key": json.loads(made.stdout)["key"]}, timeout=30) as client:
        for _ in range(OLD):
            number += 2
            mails[send(client, number)] = number
        assert process.stop() == 0
        back_into_the_database(database, mails)
        assert database.unmoved() == 2 * OLD
        for _ in range(KILLS):
            process.start()
            before = database.unmoved()
            assert before > 0, "nothing is left to move: more are needed for as many kills"
            until = time.monotonic() + chance.uniform(0, 10 * PAUSE_S)
            while time.monotonic() < until or database.unmoved() == before:
                number += 2
                mails[send(client, number)] = number
            process.kill9()
        process.start()
        expect(client, mails)
        until = time.monotonic() + WITHIN_S
        while database.unmoved() and time.monotonic() < until:
            time.sleep(0.1)
        assert database.unmoved() == 0
        expect(client, mails)
    ((left,),) = database.run("SELECT coalesce(sum(length(content)), 0) FROM secure_mail_attachments")
    assert int(str(left)) == 0


def back_into_the_database(database: Database, mails: dict[str, int]) -> None:
    """Keep the attachments of these mails as 0.1.0 did."""
    for identifier, number in mails.items():
        for each in (1, 2):
            database.run(
                "UPDATE secure_mail_attachments SET object = NULL, content = ?"
                " WHERE number = ? AND mail = (SELECT number FROM secure_mails WHERE id = ?)",
                picture(number + each - 1),
                each,
                identifier,
            )
