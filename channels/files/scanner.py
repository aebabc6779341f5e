"""Asks a scanner over HTTP whether a file may be read (docs/files.md#scanner). What waits for it is in the database: a hub that was killed
asks again when it is back, and of several hubs one asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
import orjson
import structlog

from channels.files import store_files, store_scans
from channels.files.changes import FileChanges
from channels.files.counters import Counters
from channels.files.link_owner import FOR_SCANNER
from channels.files.models import FileRecord
from channels.files.settings import FilesSettings
from channels.files.state_machine import Action, State
from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.http.file_names import disposition
from hub.objects.instances import instance_id
from hub.objects.links import Disposition, FileLink, FileLinks, Purpose
from hub.objects.store import ObjectStore, ObjectStoreError
from hub.outbox.deferred_sender import DeferredSender
from hub.outbox.models import NO_ENDPOINT, Endpoint, OutboxEvent
from hub.outbox.outcome import Failure, Outcome
from hub.storage.transactions import StorageError, Transaction, Transactions

LINK_S: Final = 120
"""Seconds that the scanner's link to a file lives, at least."""

LEASE_MARGIN_S: Final = 30
"""Seconds beyond the time that the scanner has, after which another hub asks it."""

VERDICT_BYTES: Final = 2_000
"""Bytes of the scanner's answer that are looked at."""

POLL_S: Final = 5.0
"""Seconds after which the database is looked at again, for what other hubs left."""

PAUSE_S: Final = 1.0
"""Seconds before the scanner is asked once more; twice as many before the next time."""

_PROBLEMS: Final = {
    Failure.CONNECT: "it could not be reached, or broke off",
    Failure.FORBIDDEN: "the hub may not connect to it (files.scanner_networks)",
    Failure.PROTOCOL: "its answer was no proper HTTP",
}

_log = structlog.get_logger(__name__)


class _Answer(msgspec.Struct):
    status: str = msgspec.field(name="Status")


_decoder: Final = msgspec.json.Decoder(_Answer)


class Scanner:
    """Asks the scanner, and decides."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        store: ObjectStore,
        links: FileLinks,
        changes: FileChanges,
        sender: DeferredSender,
        settings: FilesSettings,
        clock: Clock,
        counters: Counters,
        wanted: asyncio.Event,
        base_url: Callable[[], str],
        direct: bool = False,
        alone: bool = True,
        pause_s: float = PAUSE_S,
        poll_s: float = POLL_S,
    ) -> None:
        """``wanted`` is set when a file waits. ``base_url`` says where the scanner finds the hub. ``direct``: its links lead to the store
        itself. ``alone``: no other hub uses the database.
        """
        self._transactions = transactions
        self._store = store
        self._links = links
        self._changes = changes
        self._sender = sender
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._wanted = wanted
        self._base_url = base_url
        self._direct = direct
        self._alone = alone
        self._pause_s = pause_s
        self._poll_s = poll_s
        self._under_way: Counter[str] = Counter()
        self._asking: dict[asyncio.Task[None], FileRecord] = {}
        self._task = BackgroundTask("files.scanner")

    @property
    def under_way(self) -> int:
        """Files that the scanner is looking at."""
        return len(self._asking)

    async def start(self) -> None:
        """Begin to ask; what a hub before this one was asking about is asked again."""
        await self._sender.start()
        if self._alone:
            await self._transactions.write(store_scans.end_leases)
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop asking; what is not decided waits for the next start."""
        await self._task.stop()
        asking = dict(self._asking)
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)
            with contextlib.suppress(StorageError):  # the leases end by themselves
                await self._transactions.write(lambda tx: store_scans.give_back(tx, list(asking.values())))
        await self._sender.stop()

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            try:
                for file in await self._claim():
                    task = asyncio.create_task(self._ask(file), name=f"files.scan {file.id}")
                    self._asking[task] = file
                    self._under_way[file.tenant] += 1
                    task.add_done_callback(self._asked)
            except StorageError:
                _log.exception("files_not_claimed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wanted.wait()

    def _asked(self, task: asyncio.Task[None]) -> None:
        file = self._asking.pop(task)
        self._under_way[file.tenant] -= 1
        if not self._under_way[file.tenant]:
            del self._under_way[file.tenant]
        self._wanted.set()  # there is room for another one
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("file_not_scanned", file=file.id, tenant=file.tenant, exc_info=error)

    async def _claim(self) -> list[FileRecord]:
        free = self._settings.scans - len(self._asking)
        if free <= 0:
            return []
        now_ms = self._clock.wall_ms()
        until_ms = now_ms + round((self._settings.scanner_timeout_s + LEASE_MARGIN_S) * 1000)
        share = max(1, self._settings.scans // 2)
        under_way = dict(self._under_way)
        return await self._transactions.write(lambda tx: store_scans.claim(tx, now_ms, until_ms, free, share, under_way))

    async def _ask(self, file: FileRecord) -> None:
        approved, reason = await self._verdict(file)
        now_ms = self._clock.wall_ms()

        def decide(tx: Transaction) -> bool:
            found = store_files.lock(tx, file.tenant, file.id)
            if found is None or found.state is not State.SCANNING:
                return False  # deleted meanwhile
            self._changes.move(tx, found, Action.APPROVE if approved else Action.REJECT, now_ms, reason=reason)
            return True

        if await self._transactions.write(decide) and not approved and file.key is not None:
            try:
                await self._store.delete([file.key])
            except ObjectStoreError:
                _log.exception("rejected_file_not_removed", file=file.id, tenant=file.tenant)  # the sweep removes it

    async def _verdict(self, file: FileRecord) -> tuple[bool, str | None]:
        """Whether the scanner takes a file, and if not, why."""
        settings = self._settings
        until = asyncio.get_running_loop().time() + settings.scanner_timeout_s
        problem = ""
        for attempt in range(1, settings.scanner_attempts + 1):
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                break
            outcome = await self._sender.send(self._endpoint(file), self._request(file), attempt, left)
            status = _status_of(outcome)
            if status == "APPROVED":
                self._counters.scans_approved += 1
                return True, None
            if status == "REJECTED":
                self._counters.scans_rejected += 1
                return False, "the scanner rejected it"
            self._counters.scans_failed += 1
            problem = self._problem(outcome)
            told = outcome.error or problem
            _log.warning("scanner_gave_no_verdict", file=file.id, tenant=file.tenant, attempt=attempt, problem=told)
            if outcome.failure is Failure.TIMEOUT or attempt == settings.scanner_attempts:
                break
            await asyncio.sleep(min(self._pause_s * 2 ** (attempt - 1), max(0.0, until - asyncio.get_running_loop().time())))
        return False, f"the scanner gave no verdict: {problem}"

    def _problem(self, outcome: Outcome) -> str:
        """Why there is no verdict, for the tenant, whose reason of a rejected file it becomes: neither the scanner's address nor anything
        of its answer, which are the operator's.
        """
        if outcome.failure is Failure.TIMEOUT:
            return f"no answer within {self._settings.scanner_timeout_s:g} s"
        return _PROBLEMS.get(outcome.failure) or f"its answer was HTTP {outcome.status} without APPROVED or REJECTED"

    def _endpoint(self, file: FileRecord) -> Endpoint:
        return Endpoint("files.scanner", file.tenant, self._settings.scanner_url, ())

    def _request(self, file: FileRecord) -> OutboxEvent:
        body = {
            "Version": "1.0",
            "InstanceId": instance_id(file.tenant),
            "File": {
                "FileId": file.id,
                "FileCreationTime": file.created_ms,
                "FileName": file.name,
                "FileSizeInBytes": file.size,
                "FileLocation": {"DownloadUrl": self._link(file)},
            },
        }
        now_ms, operation, trace = self._clock.wall_ms(), str(uuid.uuid4()), secrets.token_hex(16)
        return OutboxEvent(
            file.number,
            file.tenant,
            "file.scan",
            file.id,
            "",
            operation,
            trace,
            NO_ENDPOINT,
            orjson.dumps(body),
            now_ms,
        )

    def _link(self, file: FileRecord) -> str:
        lasts_s = max(LINK_S, round(self._settings.scanner_timeout_s))
        if self._direct and file.key is not None:
            link = self._store.sign_get(file.key, disposition(file.name), file.content_type, lasts_s)
            if link is not None:
                return link.url
        expires_ms = self._clock.wall_ms() + lasts_s * 1000
        named = FileLink(file.tenant, f"{file.id}{FOR_SCANNER}", Purpose.FILE, expires_ms, disposition=Disposition.ATTACHMENT)
        return self._links.make(self._base_url(), named)


def _status_of(outcome: Outcome) -> str | None:
    if outcome.status != 200:
        return None
    try:
        return _decoder.decode(outcome.body).status
    except msgspec.DecodeError:
        return None  # it is told as an answer without a verdict
