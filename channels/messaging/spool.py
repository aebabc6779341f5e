"""Keeps bodies of requests whose sender is not known yet in files. The signature covers the whole body, so it is hashed while it comes.

A body in a file takes no memory. The files of one channel, and those of all, have a budget. It counts by the names in the request,
whether the channel exists or not, so that a refusal does not show that.

Anybody can make a signature up, and send all of a body but its end. Where a budget is used up, bodies that are not whole give way, in this
order: those that come more slowly than ``messaging.spool_min_bytes_per_s``; then those of the address that holds most, as long as it holds
more than the address that needs room. So nobody keeps out who sends less than they do, and who sends more is refused themselves.
"""

from __future__ import annotations

import asyncio
import hmac
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

from starlette.requests import ClientDisconnect, Request

from channels.messaging.counters import Counters
from hub.ops.body import RETRY_AFTER, address_of, hold, let_go, too_large
from hub.ops.envelope import ApiError

PIECE_BYTES: Final = 64 * 1024
"""Bytes of a body that are held in memory; the rest is in a file."""


_REFUSED: Final = {**RETRY_AFTER, "Connection": "close"}
"""The rest of the body is not waited for."""

GRACE_S: Final = 2.0
"""Seconds from the beginning of a body after which it is looked at how fast it comes."""

Owner = tuple[str, str]
"""Contact centre and channel, as the request names them."""


class _Body:
    """One that has begun, while it is not whole."""

    __slots__ = ("_task", "address", "began", "given_up", "owner", "size", "waiting")

    def __init__(self, owner: Owner, address: str, now: float) -> None:
        self.owner = owner
        self.address = address
        self.began = now
        self.size = 0
        self.waiting = False
        """Whether it waits for its sender, and is not written to its file."""
        self.given_up = False
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    def is_slow(self, now: float, least_per_s: int) -> bool:
        lasted = now - self.began
        return lasted > GRACE_S and self.size < least_per_s * lasted

    def give_up(self) -> None:
        """Have its request refused."""
        self.given_up = True
        if self.waiting:
            self._task.cancel()

    def raise_given_up(self, most: int) -> None:
        """Raise what the request is refused with."""
        if self.waiting:
            self._task.uncancel()
        raise _over("bodies that come fast enough, of addresses that send no more than others do,", most, 429)


class Spooled:
    """A whole body, in memory or in a file that has no name."""

    __slots__ = ("_file", "_last", "_request", "size")

    def __init__(self, request: Request, file: BinaryIO | None, last: bytes, size: int) -> None:
        self._request = request
        self._file = file
        self._last = last
        self.size = size

    async def hash(self, hashers: Sequence[hmac.HMAC]) -> None:
        """Feed all of it to ``hashers``."""
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
        """Read the whole body into memory: for a sender who was identified.

        Raises:
            ApiError: 429 or 503, it does not fit there now (:meth:`hub.ops.body.BodyBudget.take`).
        """
        if self._file is None:
            return self._last
        hold(self._request, self.size - len(self._last))
        return await asyncio.to_thread(self._read, self._file)

    def _read(self, file: BinaryIO) -> bytes:
        file.seek(0)
        return file.read() + self._last


class Spool:
    """The files, and what they may take together. ``folder`` is where they lie: not in ``/tmp``, which may be memory."""

    __slots__ = ("_bodies", "_counters", "_folder", "_held", "_least_per_s", "_most", "_most_of_channel", "_of_channel")

    def __init__(self, folder: Path, *, most: int, most_of_channel: int, least_per_s: int, counters: Counters) -> None:
        """``most`` and ``most_of_channel`` are bytes of all bodies and of those of one channel, ``least_per_s`` bytes a second."""
        self._folder = folder
        self._most = most
        self._most_of_channel = most_of_channel
        self._least_per_s = least_per_s
        self._counters = counters
        self._held = 0
        self._of_channel: dict[Owner, int] = {}
        self._bodies: dict[_Body, None] = {}
        """Those that are not whole, the oldest first."""

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that have begun and whose requests are not answered yet."""
        return self._held

    @asynccontextmanager
    async def receive(self, request: Request, owner: Owner, limit: int, hashers: Sequence[hmac.HMAC]) -> AsyncIterator[Spooled]:
        """The body of ``request``, fed to ``hashers`` as it comes; ``owner`` names contact centre and channel.

        Raises:
            ApiError: 413, it is larger than ``limit`` bytes; 400, it ended before it was whole; 429 or 503 with ``Retry-After``: the
                bodies of this channel, or of all, take what they may, and it is not for others to give way.
            OSError: the file could not be written.
        """
        body = _Body(owner, address_of(request.scope), asyncio.get_running_loop().time())
        self._bodies[body] = None
        file: BinaryIO | None = None
        pieces: list[bytes] = []
        in_memory = 0
        try:
            stream = request.stream()
            while (piece := await self._next(body, stream)) is not None:
                if body.size + len(piece) > limit:
                    raise too_large(limit)
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
        except ClientDisconnect:
            raise ApiError(400, "the body ended before it was whole") from None
        finally:
            self._bodies.pop(body, None)
            self._give(body)
            if file is not None:
                file.close()

    async def _next(self, body: _Body, stream: AsyncIterator[bytes]) -> bytes | None:
        """The next piece; None behind the last one."""
        if not body.given_up:
            body.waiting = True
            try:
                return await anext(stream, None)
            except asyncio.CancelledError:
                if not body.given_up:
                    raise
            finally:
                body.waiting = body.waiting and body.given_up
        body.raise_given_up(self._most_of_channel)
        return None

    def _write(self, file: BinaryIO | None, piece: bytes, hashers: Sequence[hmac.HMAC]) -> BinaryIO:
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - its request closes it
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]
        _feed(hashers, piece)
        return file

    def _take(self, body: _Body, size: int) -> None:
        if self._of_channel.get(body.owner, 0) + size > self._most_of_channel and not self._make_room(body, size, body.owner):
            self._counters.refused_spool += 1
            raise _over("the bodies of this channel's requests that are under way", self._most_of_channel, 429)
        if self._held + size > self._most and not self._make_room(body, size, None):
            self._counters.refused_spool += 1
            raise _over("the bodies of all channels' requests that are under way", self._most, 503)
        self._of_channel[body.owner] = self._of_channel.get(body.owner, 0) + size
        self._held += size
        body.size += size

    def _make_room(self, needing: _Body, size: int, owner: Owner | None) -> bool:
        """Have bodies of a channel, or of all, give way until ``size`` bytes more fit; False when they do not."""
        now = asyncio.get_running_loop().time()
        others = [each for each in self._bodies if each is not needing and each.size and owner in (None, each.owner)]
        by_address: dict[str, int] = {}
        for each in others:
            by_address[each.address] = by_address.get(each.address, 0) + each.size
        own = by_address.get(needing.address, 0) + needing.size + size
        slow = [each for each in others if each.is_slow(now, self._least_per_s)]
        for each in slow:
            if self._fits(size, owner):
                return True
            by_address[each.address] -= each.size
            self._give_up(each)
        rest = [each for each in others if not each.given_up and each.address != needing.address]
        while not self._fits(size, owner):
            heaviest = max(rest, key=lambda each: by_address[each.address], default=None)  # of an address' bodies, the oldest
            if heaviest is None or by_address[heaviest.address] <= own:
                return False
            by_address[heaviest.address] -= heaviest.size
            rest.remove(heaviest)
            self._give_up(heaviest)
        return True

    def _fits(self, size: int, owner: Owner | None) -> bool:
        if owner is None:
            return self._held + size <= self._most
        return self._of_channel.get(owner, 0) + size <= self._most_of_channel

    def _give_up(self, body: _Body) -> None:
        self._counters.gave_way_spool += 1
        del self._bodies[body]
        self._give(body)
        body.give_up()

    def _give(self, body: _Body) -> None:
        """Count the bytes of a body no more."""
        size, body.size = body.size, 0
        self._held -= size
        if size and (left := self._of_channel[body.owner] - size):
            self._of_channel[body.owner] = left
        elif size:
            del self._of_channel[body.owner]


def _feed(hashers: Sequence[hmac.HMAC], piece: bytes) -> None:
    for each in hashers:
        each.update(piece)


def _over(what: str, most: int, status: int) -> ApiError:
    expected = f"{what} within {most} bytes"
    detail = {"field": "body", "expected": expected, "got": "more"}
    return ApiError(status, f"body: expected {expected}, got more: try again in a second", detail=detail, headers=_REFUSED)
