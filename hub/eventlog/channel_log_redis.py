"""The log of ``log`` channels in Redis, as a stream for each tenant. All nodes of a hub share it.

It is as durable as its Redis is. If Redis lost records, positions jump, and :attr:`Span.seam` names the first one after the loss.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log import PAGE_RECORDS, SCAN, Page, Record, Retention, Selection, Span
from hub.eventlog.interface import EventLogError
from hub.redis.commands import RedisRefusedError, RedisUnavailableError, ServerCommands
from hub.redis.header import Header, HeaderError
from hub.redis.names import Names, TenantNames
from hub.redis.scripts import Scripts
from hub.redis.server import ServerInfo
from hub.redis.servers import Servers

TRIM_PIECE: Final = 500
"""Records that one step of a sweep deletes at most: Redis does nothing else during a step."""

MAX_LOOKED_AT: Final = 20 * SCAN
"""Records in which :meth:`RedisChannelLog.complete_since` looks for one of a topic. If it finds none, it returns False."""

GUARD_US: Final = 5_000_000
"""Microseconds by which positions lead the clock when a log begins or has lost records, since that of another Redis host may be behind."""

SWEEPS_PER_SEARCH: Final = 60
"""One of this many sweeps also looks for the logs of tenants that this process has not used yet."""

_META = (b"top", b"floor", b"run", b"seam", b"last")


class Known(NamedTuple):
    """The highest position of a log that a process has seen."""

    position: int = 0
    run: str = ""
    """The run of the server that it was seen on; empty if that is not known."""

    def __str__(self) -> str:
        return f"{self.position} {self.run}" if self.run else str(self.position)


NOTHING_KNOWN: Final = Known()


class Entry(NamedTuple):
    """A record in Redis."""

    position: int
    previous: int
    """A lower position; between the two the topic has no other record."""
    header: Header
    body: bytes
    """Extra members, then data."""


class RawPage(NamedTuple):
    """As :class:`hub.eventlog.channel_log.Page`, but with the records of all topics."""

    records: Sequence[Entry]
    end_position: int
    floor: int
    more: bool
    undecoded: int
    """Records that were left out because this version cannot read them."""


class RedisChannelLog:
    """A :class:`hub.eventlog.channel_log.ChannelLog` in Redis streams. Positions and ages follow the clock of Redis."""

    __slots__ = ("_closed", "_guard_us", "_names", "_retention", "_scripts", "_servers", "_strays", "_sweeps", "_tenants", "undecoded")

    def __init__(
        self,
        servers: Servers,
        names: Names,
        retention: Retention | None = None,
        *,
        scripts: Scripts | None = None,
        guard_us: int = GUARD_US,
    ) -> None:
        """``servers`` stay open when the log is closed."""
        self._servers = servers
        self._names = names
        self._retention = retention or Retention()
        self._scripts = scripts or Scripts()
        self._guard_us = guard_us
        self._closed = False
        self._sweeps = 0
        # tenants whose logs this process knows, and trims
        self._tenants: set[str] = set()
        # logs on servers that their tenants do not have any more
        self._strays: set[tuple[ServerCommands, str]] = set()
        self.undecoded = 0
        """Records that were skipped because this version could not read them."""

    async def append(self, topic: Topic, data: bytes, extra: bytes, idempotency_key: str = "") -> tuple[int, int] | None:
        """See :meth:`ChannelLog.append`. It only records the message; the bus delivers messages in another way."""
        names = self._of(topic.tenant)
        header = Header(topic.audience, topic.channel, DeliveryClass.LOG, len(extra), "", 0).encode()
        batch = secrets.randbits(48)
        sent = 0

        def arguments(server: ServerInfo) -> list[bytes | str | int]:
            nonlocal sent
            sent += 1
            durable, again = int(server.durable), int(sent > 1)
            begin: list[bytes | str | int] = [server.run, durable, self._guard_us, 0, "", "PUBLISH", "NUMSUB", batch, again, 0, 0]
            return [*begin, "l", f"{topic.audience}:{topic.channel}", idempotency_key, 0, header, extra + data]

        keys = [names.meta, names.stream, names.last, names.idempotency_keys, names.batch(f"{batch:012x}")]
        try:
            (position,) = await self._servers.of(names.meta).run(self._scripts.publish, keys, arguments)
            if not position:
                return None
            ((_, fields),) = await self._servers.of(names.meta).call(b"XRANGE", names.stream, position + b"-0", position + b"-0")
        except (RedisUnavailableError, RedisRefusedError) as error:
            raise EventLogError(str(error)) from error
        return int(position), int(fields[fields.index(b"q") + 1])

    async def read(self, selection: Selection, after: int, max_bytes: int) -> Page:
        """See :meth:`ChannelLog.read`."""
        page = await self.page(selection.tenant, after)
        found: list[Record] = []
        size = 0
        for position, _, header, body in page.records:
            if header.audience not in selection.audiences or not selection.wants(header.channel):
                continue
            record = Record(position, header.channel, body[header.extra_bytes :], body[: header.extra_bytes])
            if found and (len(found) == PAGE_RECORDS or size + record.size > max_bytes):
                return Page(found, found[-1].position, page.floor, more=True)
            found.append(record)
            size += record.size
        return Page(found, page.end_position, page.floor, page.more)

    async def page(self, tenant: str, after: int) -> RawPage:
        """Read the next records of all topics after a position, ``SCAN`` at most.

        Raises:
            EventLogError: see :class:`ChannelLog`.
        """
        names = self._of(tenant)
        meta, entries = await self._meta_and_entries(names, after)
        if meta is None:  # Redis has no such log, or was replaced by another server: make it, then read again
            await self.open(tenant)
            meta, entries = await self._meta_and_entries(names, after)
            if meta is None:
                raise EventLogError("Redis was replaced while the log was read")
        top, floor, last = int(meta[0]), int(meta[1]), int(meta[4])
        end = _position(entries[-1]) if entries else after
        if len(entries) < SCAN and end < last and floor < last:  # the hash of the log is there, but its stream is gone
            floor = (await self.open(tenant)).floor
        decoded = [record for entry in entries if (record := self._decode(entry)) is not None]
        more = len(entries) == SCAN and end < last
        return RawPage(decoded, end if more else max(top, after), floor, more, len(entries) - len(decoded))

    async def _meta_and_entries(self, names: TenantNames, after: int) -> tuple[list[bytes] | None, list[Any]]:
        """Read the fields ``_META`` and the next ``SCAN`` records in one transaction; None instead of the fields if there is no log of this
        server.
        """
        begin = f"({max(after, 0)}-0"
        try:
            server, (meta, entries) = await self._servers.of(names.meta).transaction(
                (b"HMGET", names.meta, *_META), (b"XRANGE", names.stream, begin, b"+", b"COUNT", SCAN)
            )
        except (RedisUnavailableError, RedisRefusedError) as error:
            raise EventLogError(str(error)) from error
        if not isinstance(meta, list) or not isinstance(entries, list):
            raise EventLogError(f"expected a log in Redis, got {meta!r} and {entries!r}")
        if None in meta or meta[2] != server.run.encode():
            return None, []
        return meta, entries

    def _decode(self, entry: Any) -> Entry | None:
        fields = entry[1]
        try:
            values = dict(zip(fields[::2], fields[1::2], strict=True))
            return Entry(_position(entry), int(values[b"q"]), Header.decode(values[b"h"]), values[b"d"])
        except (HeaderError, KeyError, ValueError):
            self.undecoded += 1
            return None

    async def span(self, tenant: str) -> Span:
        """See :meth:`ChannelLog.span`."""
        return await self.open(tenant)

    async def open(self, tenant: str, known: Known = NOTHING_KNOWN) -> Span:
        """As :meth:`span`. A log that ends below what is ``known``, or that another server took over below it, has lost records.

        Raises:
            EventLogError: see :class:`ChannelLog`.
        """
        names = self._of(tenant)
        keys = [names.meta, names.stream, names.last, names.idempotency_keys]
        try:
            answer = await self._servers.of(names.meta).run(
                self._scripts.open, keys, lambda server: [server.run, int(server.durable), self._guard_us, str(known)]
            )
        except (RedisUnavailableError, RedisRefusedError) as error:
            raise EventLogError(str(error)) from error
        top, floor, seam = map(int, answer)
        return Span(floor, top, seam)

    async def complete_since(self, topics: Sequence[Topic], after: int) -> bool:
        """See :meth:`ChannelLog.complete_since`. It searches a limited number of records (``MAX_LOOKED_AT``)."""
        return all([await self._complete(topic, after) for topic in topics])

    async def _complete(self, topic: Topic, after: int) -> bool:
        floor = (await self.open(topic.tenant)).floor
        if after >= floor:
            return True
        names = self._of(topic.tenant)
        begin = floor
        try:
            if await self._servers.of(names.meta).call(b"ZSCORE", names.last, f"{topic.audience}:{topic.channel}") is None:
                return False
            for _ in range(0, MAX_LOOKED_AT, SCAN):
                entries = await self._servers.of(names.meta).call(b"XRANGE", names.stream, f"({begin}-0", b"+", b"COUNT", SCAN)
                for entry in entries:
                    decoded = self._decode(entry)
                    if decoded is not None and decoded.header.topic(topic.tenant) == topic:
                        return decoded.previous <= after
                if len(entries) < SCAN:
                    return False
                begin = _position(entries[-1])
                await asyncio.sleep(0)
        except (RedisUnavailableError, RedisRefusedError) as error:
            raise EventLogError(str(error)) from error
        return False

    async def erase(self, topic: Topic, picks: Callable[[bytes], bool]) -> int:
        """See :meth:`ChannelLog.erase`. The whole log of the tenant is read, in pages: Redis does not find records by their topic."""
        names = self._of(topic.tenant)
        erased, after, more = 0, 0, True
        while more:
            page = await self.page(topic.tenant, after)
            chosen = [
                each.position
                for each in page.records
                if each.header.topic(topic.tenant) == topic and picks(each.body[each.header.extra_bytes :])
            ]
            if chosen:
                try:
                    erased += await self._servers.of(names.meta).run(
                        self._scripts.erase,
                        [names.meta, names.stream],
                        lambda _, positions=chosen: positions,  # type: ignore[misc]
                    )
                except (RedisUnavailableError, RedisRefusedError) as error:
                    raise EventLogError(str(error)) from error
            after, more = page.end_position, page.more
        return erased

    async def trim(self) -> int:
        """See :meth:`ChannelLog.trim`. Every node does this for all tenants whose logs it knows."""
        self._check_open()
        if self._sweeps % SWEEPS_PER_SEARCH == 0:
            await self._search()
        self._sweeps += 1
        forgotten = sum([await self._trim(tenant) for tenant in list(self._tenants)])
        return forgotten + sum([await self._trim(tenant, server) for server, tenant in self._strays])

    async def forget(self, tenant: str, older_than_s: float | None) -> int:
        """See :meth:`ChannelLog.forget`."""
        self._check_open()
        if older_than_s is None:
            return await self._trim(tenant, most=Retention(max_messages=0, max_age_s=self._retention.max_age_s))
        return await self._trim(tenant, age_us=round(older_than_s * 1_000_000))

    async def _trim(
        self, tenant: str, server: ServerCommands | None = None, *, most: Retention | None = None, age_us: int | None = None
    ) -> int:
        """Delete the oldest records of a tenant, beyond the retention or ``most``, and those of ``age_us`` microseconds."""
        kept = most or self._retention
        names = self._names.of(tenant)
        commands = self._servers.of(names.meta) if server is None else server
        keys = [names.meta, names.stream, names.last, names.idempotency_keys]
        age = kept.max_age_s * 1_000_000 if age_us is None else age_us
        forgotten = 0
        more = True
        while more:
            try:
                count, left = await commands.run(self._scripts.trim, keys, lambda _: [age, kept.max_messages, kept.max_bytes, TRIM_PIECE])
            except (RedisUnavailableError, RedisRefusedError) as error:
                raise EventLogError(str(error)) from error
            forgotten += count
            more = left == b"1"
        return forgotten

    async def _search(self) -> None:
        for server in self._servers.all():
            await self._search_in(server)

    async def _search_in(self, server: ServerCommands) -> None:
        cursor = b"0"
        begin, end = f"{self._names.prefix}:{{", "}:m"
        try:
            while True:
                cursor, keys = await server.call(b"SCAN", cursor, b"MATCH", f"{_literal(begin)}*{end}", b"COUNT", 500)
                for key in keys:
                    tenant = unquote(key.decode()[len(begin) : -len(end)])
                    if not self._servers.is_stray(key, server):
                        self._tenants.add(tenant)
                    elif (server, tenant) not in self._strays:
                        await self._leave(server, tenant)
                if cursor == b"0":
                    return
        except (RedisUnavailableError, RedisRefusedError) as error:
            raise EventLogError(str(error)) from error

    async def _leave(self, server: ServerCommands, tenant: str) -> None:
        """Have a tenant's log go on at the server that it has now, above all positions that it had on another one."""
        names = self._names.of(tenant)
        top, run, epoch = await server.run(self._scripts.leave, (names.meta,), lambda _: ())
        await self.open(tenant, Known(int(top), run.decode() or "another server"))
        if int(epoch):
            await self._servers.of(names.meta).run(self._scripts.claim, (names.meta,), lambda _: (int(epoch),))
        self._strays.add((server, tenant))

    async def gather(self) -> None:
        """Find the logs that lie on servers which their tenants do not have any more, before anybody goes on without them.

        Raises:
            EventLogError: see :class:`ChannelLog`.
        """
        if len(self._servers.all()) > 1:
            await self._search()

    async def close(self) -> None:
        """See :meth:`ChannelLog.close`."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise EventLogError("the channel log is closed")

    def _of(self, tenant: str) -> TenantNames:
        self._check_open()
        self._tenants.add(tenant)
        return self._names.of(tenant)


def _literal(text: str) -> str:
    """Escape a text so that as a pattern of Redis it matches only itself."""
    return "".join(f"\\{character}" if character in "*?[]^\\" else character for character in text)


def _position(entry: Any) -> int:
    return int(entry[0].partition(b"-")[0])
