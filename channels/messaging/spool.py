"""Keeps the bodies of requests whose sender is not known yet in files. The signature covers the whole body, so a body is hashed while it
comes.

A body in a file takes no memory. The files of one channel have a budget, and so have the files of all channels. The budget of a channel is
counted by the name in the request, whether the channel exists or not: a refusal does not show which channels there are.

Anybody can invent a signature, and send a body except for its end. When a budget is used up, incomplete bodies are shed (their requests are
refused), in this order: first those that come more slowly than ``messaging.spool_min_bytes_per_s``; then those of the address that holds
the most bytes, as long as it holds more than the address that needs room. So a sender can keep out only senders that hold more bytes.
"""

from __future__ import annotations

import asyncio
import hmac
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

from starlette.requests import Request

from channels.messaging.counters import Counters
from hub.http.body import RETRY_AFTER, address_of, hold, let_go, stream_body
from hub.http.errors import ApiError
from hub.storage.private_folder import make_private

PIECE_BYTES: Final = 64 * 1024
"""Bytes of a body that are held in memory. The rest is in a file."""


_REFUSED: Final = {**RETRY_AFTER, "Connection": "close"}
"""The connection is closed, since the rest of the body is not read."""

Owner = tuple[str, str]
"""Contact centre and channel, as the request names them."""


class _Body:
    """A body that is incomplete."""

    __slots__ = ("_task", "address", "began", "owner", "shedding", "size", "waiting")

    def __init__(self, owner: Owner, address: str, now: float) -> None:
        self.owner = owner
        self.address = address
        self.began = now
        self.size = 0
        self.waiting = False
        """Whether it waits for its sender, and is not written to its file."""
        self.shedding = False
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    def is_slow(self, now: float, min_bytes_per_s: int, grace_s: float) -> bool:
        lasted = now - self.began
        return lasted > grace_s and self.size < min_bytes_per_s * lasted

    def shed(self) -> None:
        """Refuse its request: at once if it waits for its sender, else before its next piece."""
        self.shedding = True
        if self.waiting:
            self._task.cancel()

    def raise_shed(self, limit: int) -> None:
        """Raise the refusal of its request."""
        if self.waiting:
            self._task.uncancel()
        raise _over("bodies that come fast enough, of addresses that send no more than others do,", limit, 429)


class Spooled:
    """A whole body, in memory or in a file that has no name."""

    __slots__ = ("_file", "_last", "_request", "size")

    def __init__(self, request: Request, file: BinaryIO | None, last: bytes, size: int) -> None:
        self._request = request
        self._file = file
        self._last = last
        self.size = size

    async def hash(self, hashers: Sequence[hmac.HMAC]) -> None:
        """Feed the whole body to ``hashers``."""
        if self._file is None and self.size * len(hashers) <= PIECE_BYTES:
            _feed(hashers, self._last)
        else:
            await asyncio.to_thread(self._hash, hashers)

    def _hash(self, hashers: Sequence[hmac.HMAC]) -> None:
        if self._file is not None:
            self._file.seek(0)
            while piece := self._file.read(PIECE_BYTES):
                _feed(hashers, piece)
        _feed(hashers, self._last)

    async def read(self) -> bytes:
        """Read the whole body into memory. Only for a sender who was identified.

        Raises:
            ApiError: 429 or 503, the body does not fit into memory now (:meth:`hub.http.body.BodyBudget.take`).
        """
        if self._file is None:
            return self._last
        hold(self._request, self.size - len(self._last))
        return await asyncio.to_thread(self._read, self._file)

    def _read(self, file: BinaryIO) -> bytes:
        file.seek(0)
        return file.read() + self._last


class Spool:
    """Keeps bodies in files, within budgets of bytes. ``folder`` contains the files; it should not be in ``/tmp``, which may be memory."""

    __slots__ = (
        "_bodies",
        "_counters",
        "_folder",
        "_grace_s",
        "_held",
        "_max_bytes",
        "_max_bytes_of_channel",
        "_min_bytes_per_s",
        "_of_channel",
    )

    def __init__(
        self, folder: Path, *, max_bytes: int, max_bytes_of_channel: int, min_bytes_per_s: int, counters: Counters, grace_s: float = 2.0
    ) -> None:
        """``max_bytes`` bounds the bodies of all channels together, ``max_bytes_of_channel`` those of each. A body with fewer than
        ``min_bytes_per_s`` bytes a second is shed first; its speed is judged from ``grace_s`` seconds after its beginning on.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_bytes_of_channel = max_bytes_of_channel
        self._min_bytes_per_s = min_bytes_per_s
        self._grace_s = grace_s
        self._counters = counters
        self._held = 0
        self._of_channel: dict[Owner, int] = {}
        self._bodies: dict[_Body, None] = {}
        """Incomplete bodies, the oldest first."""

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that have begun and whose requests are not answered yet."""
        return self._held

    @asynccontextmanager
    async def receive(self, request: Request, owner: Owner, limit: int, hashers: Sequence[hmac.HMAC]) -> AsyncIterator[Spooled]:
        """Receive the body of ``request``, and feed it to ``hashers`` while it comes; ``owner`` names contact centre and channel.

        Raises:
            ApiError: 413, the body is larger than ``limit`` bytes; 400, it ended before it was complete; 429 or 503 with ``Retry-After``:
                the budget of this channel, or of all channels, is used up, and no other body may be shed for this one.
            OSError: the file could not be written.
        """
        body = _Body(owner, address_of(request.scope), asyncio.get_running_loop().time())
        self._bodies[body] = None
        file: BinaryIO | None = None
        pieces: list[bytes] = []
        in_memory = 0
        try:
            stream = stream_body(request, limit)
            while (piece := await self._next(body, stream)) is not None:
                self._take(body, len(piece))
                pieces.append(piece)
                in_memory += len(piece)
                if in_memory >= PIECE_BYTES:
                    joined = b"".join(pieces)
                    pieces = []
                    file = await asyncio.to_thread(self._write, file, joined, hashers)
                    let_go(request, in_memory)
                    in_memory = 0
            del self._bodies[body]
            last = b"".join(pieces)
            _feed(hashers, last)
            yield Spooled(request, file, last, body.size)
        finally:
            self._bodies.pop(body, None)
            self._give(body)
            if file is not None:
                file.close()

    async def _next(self, body: _Body, stream: AsyncIterator[bytes]) -> bytes | None:
        """The next piece; None after the last one."""
        if not body.shedding:
            body.waiting = True
            try:
                return await anext(stream, None)
            except asyncio.CancelledError:
                if not body.shedding:
                    raise
            finally:
                body.waiting = body.waiting and body.shedding
        body.raise_shed(self._max_bytes_of_channel)
        return None

    def _write(self, file: BinaryIO | None, piece: bytes, hashers: Sequence[hmac.HMAC]) -> BinaryIO:
        if file is None:
            make_private(self._folder)
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - its request closes it
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]
        _feed(hashers, piece)
        return file

    def _take(self, body: _Body, size: int) -> None:
        if self._of_channel.get(body.owner, 0) + size > self._max_bytes_of_channel and not self._make_room(body, size, body.owner):
            self._counters.refused_spool += 1
            raise _over("the bodies of this channel's requests that are under way", self._max_bytes_of_channel, 429)
        if self._held + size > self._max_bytes and not self._make_room(body, size, None):
            self._counters.refused_spool += 1
            raise _over("the bodies of all channels' requests that are under way", self._max_bytes, 503)
        self._of_channel[body.owner] = self._of_channel.get(body.owner, 0) + size
        self._held += size
        body.size += size

    def _make_room(self, needing: _Body, size: int, owner: Owner | None) -> bool:
        """Shed bodies, of one channel or of all, until ``size`` bytes more fit. Returns whether they fit."""
        now = asyncio.get_running_loop().time()
        others = [each for each in self._bodies if each is not needing and each.size and owner in (None, each.owner)]
        by_address: dict[str, int] = {}
        for each in others:
            by_address[each.address] = by_address.get(each.address, 0) + each.size
        own = by_address.get(needing.address, 0) + needing.size + size
        slow = [each for each in others if each.is_slow(now, self._min_bytes_per_s, self._grace_s)]
        for each in slow:
            if self._fits(size, owner):
                return True
            by_address[each.address] -= each.size
            self._shed(each)
        rest = [each for each in others if not each.shedding and each.address != needing.address]
        while not self._fits(size, owner):
            heaviest = max(rest, key=lambda each: by_address[each.address], default=None)  # of an address' bodies, the oldest
            if heaviest is None or by_address[heaviest.address] <= own:
                return False
            by_address[heaviest.address] -= heaviest.size
            rest.remove(heaviest)
            self._shed(heaviest)
        return True

    def _fits(self, size: int, owner: Owner | None) -> bool:
        if owner is None:
            return self._held + size <= self._max_bytes
        return self._of_channel.get(owner, 0) + size <= self._max_bytes_of_channel

    def _shed(self, body: _Body) -> None:
        self._counters.gave_way_spool += 1
        del self._bodies[body]
        self._give(body)
        body.shed()

    def _give(self, body: _Body) -> None:
        """Release the bytes of a body."""
        size, body.size = body.size, 0
        self._held -= size
        if size and (left := self._of_channel[body.owner] - size):
            self._of_channel[body.owner] = left
        elif size:
            del self._of_channel[body.owner]


def _feed(hashers: Sequence[hmac.HMAC], piece: bytes) -> None:
    for each in hashers:
        each.update(piece)


def _over(what: str, limit: int, status: int) -> ApiError:
    expected = f"{what} within {limit} bytes"
    detail = {"field": "body", "expected": expected, "got": "more"}
    return ApiError(status, f"body: expected {expected}, got more: try again in a second", detail=detail, headers=_REFUSED)
