"""Files as a state machine: clients, time, restarts and the retention act at random, and a plain model says what must be so."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule, run_state_machine_as_test

from channels.files.errors import FileNotFound, NotApproved, NotUploaded, TokenReused, UploadEnded
from channels.files.models import PREFIX, UploadLink
from channels.files.retention import FilesRetention
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.channels.files.conftest import PACKAGES
from tests.channels.files.support import CASE, TENANTS, World, once
from tests.hub.storage.backends import Sqlite, opened
from tests.world import ManualClock

HOUR_MS = 3_600_000
KEEP_DAYS = 3
CONTENTS = (b"hello", b"other", b"\x00\x01\x02\x03\x04")
"""Of the same length; the last one is no text."""

TOKENS = ("one", "two")


@dataclass
class Known:
    """What a file must be."""

    token: str | None
    ends_ms: int
    bytes: bytes | None = None
    status: str = "PROCESSING"
    decided_ms: int = 0

    @property
    def kept(self) -> bytes | None:
        """What must be in the store."""
        return self.bytes if self.status in ("PROCESSING", "APPROVED") else None


@dataclass
class Link:
    """A link that was given out."""

    file: str
    url: str
    ends_ms: int
    headers: dict[str, str] = field(default_factory=dict)


class FileMachine(RuleBasedStateMachine):
    sqlite: Sqlite

    files = Bundle("files")
    uploads = Bundle("uploads")
    downloads = Bundle("downloads")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="files-"))
        self.clock = ManualClock(wall=round(time.time() * 1000))
        self.known: dict[str, Known] = {}
        self.gone: set[str] = set()
        self.tokens: dict[str, tuple[str, int]] = {}
        self.told: list[tuple[str, str, Any]] = []
        self.stack = AsyncExitStack()
        self.world: World

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        async def opening() -> Transactions:
            database: Database = await self.stack.enter_async_context(opened(await self.sqlite.migrated(PACKAGES)))
            made = Transactions(backend_of(database))
            await made.start()
            self.stack.push_async_callback(made.stop)
            for tenant in TENANTS:
                await made.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
            return made

        self.transactions = self.run(opening())
        self._start()

    def _start(self) -> None:
        async def starting() -> World:
            world = World(self.transactions, self.folder, self.clock, {"keep_days": KEEP_DAYS, "keep_refused_days": KEEP_DAYS})
            return await self.inner.enter_async_context(world.running(jobs=False))

        self.inner = AsyncExitStack()
        self.world = self.run(starting())

    def _stop(self) -> None:
        self.told += self.world.heard.events
        self.run(self.inner.aclose())

    def here(self, url: str) -> str:
        """A link as it is now: a hub that was started again has another port."""
        return f"{self.world.base}/{url.split('/', 3)[3]}"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self._stop()
        self.run(self.stack.aclose())
        self.loop.close()
        shutil.rmtree(self.folder)
        assert "files/v1" not in str(self.told), "no link stands in an event"

    # -- what clients do --------------------------------------------------------------------------------------------------

    @rule(target=uploads, token=st.sampled_from(TOKENS) | st.none(), lives_s=st.sampled_from([5, 300]))
    def announce(self, token: str | None, lives_s: int) -> Any:
        return self._announce(token, lives_s)

    def _announce(self, token: str | None, lives_s: int) -> Any:
        now_ms = self.clock.wall_ms()
        before, since_ms = self.tokens.get(token or "", ("", 0))
        fresh = token is None or not before or since_ms + 24 * HOUR_MS <= now_ms
        try:
            file, link = self.run(self.world.start(client_token=token, url_expiry_s=lives_s))
        except TokenReused:
            assert not fresh
            assert before in self.gone or self.known[before].status != "PROCESSING"
            return multiple()
        if fresh:
            assert file.id not in self.known
            assert file.id not in self.gone, "ids never come again"
            self.known[file.id] = Known(token, link.expires_ms)
            if token is not None:
                self.tokens[token] = (file.id, now_ms)
        else:
            assert file.id == before
            known = self.known[file.id]
            assert known.status == "PROCESSING"
            if known.bytes is None:
                known.ends_ms = max(known.ends_ms, link.expires_ms)
        assert link.expires_ms == now_ms + lives_s * 1000
        return Link(file.id, link.url, link.expires_ms, dict(link.headers))

    @rule(target=uploads, content=st.sampled_from(CONTENTS), completed=st.booleans())
    def announce_and_upload(self, content: bytes, completed: bool) -> Any:
        """Steps that random ones seldom take one after the other."""
        link = self._announce(None, 300)
        self._upload(link, content)
        if completed:
            self._complete(link)
        return link

    @rule(link=uploads, content=st.sampled_from(CONTENTS))
    def upload(self, link: Link, content: bytes) -> None:
        self._upload(link, content)

    def _upload(self, link: Link, content: bytes) -> None:
        answer = self.run(self.world.put(UploadLink(self.here(link.url), link.ends_ms, link.headers), content))
        known = self.known.get(link.file)
        if link.ends_ms <= self.clock.wall_ms():
            expected = 403
        elif known is None:
            expected = 404
        elif known.status in ("REJECTED", "FAILED"):
            expected = 412
        elif known.bytes is not None:
            expected = 200 if known.bytes == content else 412
        else:
            expected = 200
            known.bytes = content
        assert answer.status_code == expected, answer.text

    @rule(link=uploads, cut=st.integers(0, 4))
    def break_off(self, link: Link, cut: int) -> None:
        """An upload that ends early leaves nothing."""

        async def broken() -> None:
            host, _, rest = self.here(link.url).removeprefix("http://").partition("/")
            reader, writer = await asyncio.open_connection("127.0.0.1", int(self.world.base.rpartition(":")[2]))
            writer.write(f"PUT /{rest} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n".encode())
            writer.write(b"hello"[:cut])
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 30)
            writer.close()

        self.run(broken())

    @rule(link=uploads)
    def complete(self, link: Link) -> None:
        self._complete(link)

    def _complete(self, link: Link) -> None:
        known = self.known.get(link.file)
        expected: type[Exception] | None = None
        if known is None:
            expected = FileNotFound
        elif known.status == "FAILED":
            expected = UploadEnded
        elif known.bytes is None and known.status == "PROCESSING":
            expected = NotUploaded
        complete = self.world.files.complete("acme", link.file, call="attached", resource=CASE, client_token=None)
        if expected is not None:
            with pytest.raises(expected):
                self.run(complete)
            return
        assert known is not None
        if known.status == "PROCESSING":
            known.status = "APPROVED" if known.bytes in CONTENTS[:2] else "REJECTED"
            known.decided_ms = self.clock.wall_ms()
        assert self.run(complete).status == known.status

    @rule(target=downloads, link=uploads)
    def read(self, link: Link) -> Any:
        """Ask for a link, and follow it."""
        made = self._ask_for_a_link(link)
        if made is None:
            return multiple()
        self._download(made)
        return made

    def _ask_for_a_link(self, link: Link) -> Any:
        known = self.known.get(link.file)
        if known is None:
            return None
        file = self.run(self.world.files.get("acme", link.file))
        making = self.world.files.download_link(file, self.world.base, expiry_s=60)
        if known.status != "APPROVED":
            with pytest.raises(NotApproved):
                self.run(making)
            return None
        url, ends_ms = self.run(making)
        assert ends_ms == self.clock.wall_ms() + 60_000
        return Link(link.file, url, ends_ms)

    @rule(link=downloads)
    def download(self, link: Link) -> None:
        """A link from before may have ended."""
        self._download(link)

    def _download(self, link: Link) -> None:
        answer = self.run(self.world.client.get(self.here(link.url)))
        known = self.known.get(link.file)
        if link.ends_ms <= self.clock.wall_ms():
            assert answer.status_code == 403
        elif known is None:
            assert answer.status_code == 404
        else:
            assert (answer.status_code, answer.content) == (200, known.bytes)

    @rule(link=consumes(uploads))
    def delete(self, link: Link) -> None:
        deleting = self.world.files.delete("acme", link.file)
        if link.file in self.known:
            self.run(deleting)
            del self.known[link.file]
            self.gone.add(link.file)
        else:
            with pytest.raises(FileNotFound):
                self.run(deleting)

    # -- what happens by itself -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.001, 1, 4.999, 5, 60, 300, 3599, 3600, 24 * 3600, KEEP_DAYS * 24 * 3600]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0, 299, 300, 3599, 3899, 3900, 24 * 3600]))
    def retention(self, seconds: float) -> None:
        self.clock.advance(seconds)
        job = next(each for each in self.world.parts.services if isinstance(each, FilesRetention))
        self.run(job.trim())
        now_ms = self.clock.wall_ms()
        for identifier, known in list(self.known.items()):
            if known.status == "PROCESSING" and known.ends_ms + HOUR_MS <= now_ms:
                known.status, known.decided_ms = "FAILED", now_ms
            if known.status != "PROCESSING" and known.decided_ms < now_ms - KEEP_DAYS * 24 * HOUR_MS:
                del self.known[identifier]
                self.gone.add(identifier)
        self.tokens = {token: (file, ms) for token, (file, ms) in self.tokens.items() if ms + 24 * HOUR_MS > now_ms}

    @rule()
    def sweep(self) -> None:
        """What an upload left that ended with its hub is removed, and nothing else."""
        orphan = f"{PREFIX}aa/{hashlib.sha256(str(self.clock.wall_ms()).encode()).hexdigest()}/0"
        self.run(self.world.store.put(orphan, once(b"x"), 1))
        self.clock.advance(2 * 3600)
        job = next(each for each in self.world.parts.services if isinstance(each, FilesRetention))
        self.run(job.sweep())
        assert orphan not in self.run(self.world.keys())

    @rule()
    def restart(self) -> None:
        self._stop()
        self._start()

    # -- what must hold ---------------------------------------------------------------------------------------------------

    @invariant()
    def files_are_what_the_model_says(self) -> None:
        if not hasattr(self, "world"):
            return
        found, missing = self.run(self.world.files.batch("acme", CASE, [*self.known, *self.gone]))
        assert {file.id: file.status.value for file in found} == {each: known.status for each, known in self.known.items()}
        assert set(missing) == self.gone
        for file in found:
            assert (file.key is None) == (self.known[file.id].kept is None), "no file without bytes is approved, none with them refused"

    @invariant()
    def the_store_has_the_bytes_of_the_files_and_no_others(self) -> None:
        if not hasattr(self, "world"):
            return
        found, _ = self.run(self.world.files.batch("acme", CASE, list(self.known)))
        assert sorted(self.run(self.world.keys())) == sorted(file.key for file in found if file.key is not None)


def run_machine(sqlite: Sqlite, examples: int, steps: int) -> None:
    FileMachine.sqlite = sqlite
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None)
    run_state_machine_as_test(FileMachine, settings=chosen)


@pytest.mark.timeout(600)
def test_files_at_random(sqlite: Sqlite) -> None:
    run_machine(sqlite, 10, 25)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_files_at_random_for_long(sqlite: Sqlite) -> None:
    run_machine(sqlite, 1000, 80)
