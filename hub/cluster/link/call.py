"""One end of a call between two nodes (:class:`hub.cluster.ports.Call`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from hub.cluster.link.frames import PIECE_OVERHEAD, CancelReason, FrameType, encode_credit
from hub.cluster.link.window import Window, again
from hub.cluster.ports import CallEndedError, LinkError, TooLongError, UnreachableError

_REASONS = {
    CancelReason.CANCELLED: "the other side cancelled the call",
    CancelReason.NO_HANDLER: "the other node answers no calls of this kind",
    CancelReason.FAILED: "the other node failed to answer",
    CancelReason.LOOP: "the request has come over too many links",
    CancelReason.ANSWERED: "the other side has answered, and reads nothing more",
    CancelReason.SLOW: "the other side did not read for too long",
}


class Link(Protocol):
    """What a call needs of the link that carries it."""

    @property
    def window(self) -> Window:
        """What may be sent by all calls together."""
        ...

    @property
    def max_piece(self) -> int:
        """Bytes of the longest piece."""
        ...

    def write(self, stream: int, kind: FrameType, payload: bytes = b"") -> None:
        """Send a frame. On a broken link this does nothing."""
        ...

    def consumed(self, cost: int) -> None:
        """Bytes that came were read, or dropped."""
        ...

    def forget(self, call: LinkCall) -> None:
        """No frame of this call is expected any more."""
        ...


class LinkCall:
    """A call over one link. One task at a time may receive, and one may send."""

    __slots__ = (
        "_confirmation",
        "_error",
        "_ignored",
        "_link",
        "_local_done",
        "_on_ready",
        "_pieces",
        "_read",
        "_reader",
        "_remote_done",
        "_size",
        "_unread",
        "_until_read",
        "_window",
        "answers",
        "body",
        "counted",
        "head",
        "hops",
        "node",
        "stalled_since",
        "stream",
    )

    def __init__(
        self,
        link: Link,
        stream: int,
        node: str,
        hops: int,
        head: bytes = b"",
        body: bytes = b"",
        *,
        window: int,
        answers: bool,
        alone: bool,
    ) -> None:
        """``window``: bytes that either side may leave unread, the same at both ends. ``answers``: the other node opened it. ``alone``:
        whoever opened it sends nothing more.
        """
        self.node = node
        self.head = head
        self.body = body
        self.hops = hops
        self.stream = stream
        self.answers = answers
        self.counted = True
        """Whether what is read counts for the link: as long as the link knows the call."""
        self._link = link
        self._size = window
        self._window = Window(window)
        self._pieces: deque[bytes] | None = None
        self._unread = 0
        self.stalled_since = 0.0
        """Since when pieces that were there have not all been read, by the clock of the event loop: it does not help to read one now and
        then.
        """
        self._until_read = 0
        """Pieces of those that are not read yet."""
        self._read = 0
        """Bytes that were read since the other side was last told."""
        self._reader: asyncio.Future[None] | None = None
        self._on_ready: Callable[[], object] | None = None
        self._local_done = alone and not answers
        self._remote_done = alone and answers
        self._ignored = False
        self._error: LinkError | None = None
        self._confirmation: _Confirmation | bool | None = None

    # -- what its owner does ------------------------------------------------------------------------------------------

    async def send(self, piece: bytes, *, last: bool = False) -> None:
        """See :meth:`hub.cluster.ports.Call.send`."""
        if self.try_send(piece, last=last):  # nearly always
            return
        cost = len(piece) + PIECE_OVERHEAD
        if not self._window.try_take(cost):
            await self._window.take(cost)
        if not self._link.window.try_take(cost):
            try:
                await self._link.window.take(cost)
            except BaseException:
                self._window.give(cost)
                raise
            if self._error is not None or self._local_done:  # it ended while this waited
                self._link.window.give(cost)
        self._check_sending()
        self._write_piece(piece, last=last)

    def try_send(self, piece: bytes, *, last: bool = False) -> bool:
        """See :meth:`hub.cluster.ports.Call.try_send`."""
        if len(piece) > self._link.max_piece:
            raise TooLongError("a piece", self._link.max_piece, len(piece))
        self._check_sending()
        cost = len(piece) + PIECE_OVERHEAD
        if not self._window.try_take(cost):
            return False
        if not self._link.window.try_take(cost):
            self._window.give(cost)
            return False
        self._write_piece(piece, last=last)
        return True

    def _write_piece(self, piece: bytes, *, last: bool) -> None:
        self._local_done = last
        self._link.write(self.stream, FrameType.LAST_PIECE if last else FrameType.PIECE, piece)
        if last:
            self._side_done()

    def _check_sending(self) -> None:
        if self._error is not None:
            raise again(self._error)
        if self._local_done:
            raise CallEndedError("this side of the call is finished")

    async def receive(self) -> bytes | None:
        """See :meth:`hub.cluster.ports.Call.receive`."""
        while not self._pieces:
            if self._error is not None:
                raise again(self._error)
            if self._remote_done:
                return None
            if self._reader is not None:
                raise RuntimeError("another task receives from this call")
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._take(self._pieces)

    def take(self) -> bytes | None:
        """See :meth:`hub.cluster.ports.Call.take`."""
        if self._pieces:
            return self._take(self._pieces)
        if self._error is not None:
            raise again(self._error)
        if self._remote_done:
            raise CallEndedError("the other side has sent all that it had")
        return None

    def when_ready(self, ready: Callable[[], object] | None) -> None:
        """See :meth:`hub.cluster.ports.Call.when_ready`."""
        self._on_ready = ready
        if ready is not None and (self._pieces or self._error is not None or self._remote_done):
            asyncio.get_running_loop().call_soon(ready)

    def _take(self, pieces: deque[bytes]) -> bytes:
        piece = pieces.popleft()
        cost = len(piece) + PIECE_OVERHEAD
        self._unread -= cost
        self._until_read -= 1
        if pieces and self._until_read <= 0:
            self._until_read = len(pieces)
            self.stalled_since = asyncio.get_running_loop().time()
        if self.counted:
            self._link.consumed(cost)
        if not self._remote_done:
            self._read += cost
            if self._read >= self._size // 2:
                self._link.write(self.stream, FrameType.CREDIT, encode_credit(self._read))
                self._read = 0
        return piece

    def finish(self) -> None:
        """See :meth:`hub.cluster.ports.Call.finish`."""
        if self._local_done or self._error is not None:
            return
        self._local_done = True
        self._link.write(self.stream, FrameType.END)
        self._side_done()

    def cancel(self, reason: CancelReason = CancelReason.CANCELLED, error: LinkError | None = None) -> None:
        """See :meth:`hub.cluster.ports.Call.cancel`. ``error`` is what this side gets from the call then."""
        if self._error is not None or (not self.answers and self._local_done and self._remote_done):
            return
        if self.counted:
            self._link.write(self.stream, FrameType.CANCEL, bytes([reason]))
        self._end(error or CallEndedError("this side cancelled the call"), discard=True)

    def confirm(self, *, written: bool) -> None:
        """See :meth:`hub.cluster.ports.Call.confirm`."""
        if self._error is None:
            self._link.write(self.stream, FrameType.WRITTEN if written else FrameType.NOT_WRITTEN)

    async def confirmed(self, timeout_s: float = 5.0) -> bool:
        """See :meth:`hub.cluster.ports.Call.confirmed`."""
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def told(written: bool) -> None:
            if not waiting.done():  # its task may have been cancelled
                waiting.set_result(written)

        self.when_confirmed(told, timeout_s)
        return await waiting

    def when_confirmed(self, told: Callable[[bool], object], timeout_s: float = 5.0) -> None:
        """See :meth:`hub.cluster.ports.Call.when_confirmed`."""
        loop = asyncio.get_running_loop()
        if isinstance(self._confirmation, bool):
            loop.call_soon(told, self._confirmation)
        elif self._error is not None:
            loop.call_soon(told, False)
        else:
            self._confirmation = _Confirmation(told, loop, timeout_s)

    def ignore(self) -> None:
        """Drop what the other side still sends, until it ends the call."""
        self._ignored = True

    # -- what the link does -------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether it has not ended, in either direction."""
        return self._error is None and not (self._local_done and self._remote_done)

    @property
    def unread(self) -> int:
        """Bytes that came and were not read."""
        return self._unread

    def arrived(self, piece: bytes) -> None:
        """A piece of the other side came."""
        if self._error is not None or self._remote_done or self._ignored:
            self._link.consumed(len(piece) + PIECE_OVERHEAD)
            return
        if self._pieces is None:
            self._pieces = deque()
        if not self._unread:
            self._until_read = 1
            self.stalled_since = asyncio.get_running_loop().time()
        self._pieces.append(piece)
        self._unread += len(piece) + PIECE_OVERHEAD
        self._wake()

    def ended(self) -> None:
        """The other side sends nothing more."""
        self._remote_done = True
        self._wake()
        self._side_done()

    def credited(self, amount: int) -> None:
        """The other side has read pieces."""
        self._window.give(amount)

    def told(self, *, written: bool) -> None:
        """The caller said whether the reply was written."""
        waiting = self._confirmation
        self._confirmation = written
        if isinstance(waiting, _Confirmation):
            waiting.settle(written)

    def cancelled(self, reason: int) -> None:
        """The other side ended the call. What it had finished before can still be read."""
        if reason == CancelReason.BUSY:
            error: LinkError = UnreachableError("the other node has too many calls open")
        else:
            known = CancelReason(reason) if reason in CancelReason.__members__.values() else CancelReason.CANCELLED
            error = CallEndedError(_REASONS[known])
        self._end(error, discard=not self._remote_done)

    def broken(self, error: LinkError) -> None:
        """The link broke. What came before can still be read."""
        self._end(error, discard=False)

    def released(self) -> None:
        """The link forgets the call: what is unread no longer counts for it."""
        if self.counted:
            self.counted = False
            if self._unread:
                self._link.consumed(self._unread)

    def _end(self, error: LinkError, *, discard: bool) -> None:
        if self._error is not None:
            return
        if self._remote_done and not discard:
            # all pieces are there: reading goes on to their end, sending does not
            self._local_done = True
        else:
            self._error = error
        self._window.close(error)
        if not isinstance(self._confirmation, bool):
            self.told(written=False)
        self._link.forget(self)
        if discard:
            self._pieces = None
            self._unread = 0
        self._wake()

    def _side_done(self) -> None:
        if self._local_done and self._remote_done and not self.answers:
            self._link.forget(self)

    def _wake(self) -> None:
        if self._reader is not None:
            if not self._reader.done():
                self._reader.set_result(None)
        elif self._on_ready is not None:
            # not here: an exception in it is not one of the link, and one message of the link may bring pieces for hundreds of calls
            asyncio.get_running_loop().call_soon(self._on_ready)


class _Confirmation:
    """Waits for the word that a reply was written. A future and ``asyncio.timeout`` cost several times as much for each request."""

    __slots__ = ("_loop", "_timer", "_told")

    def __init__(self, told: Callable[[bool], object], loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._loop = loop
        self._told: Callable[[bool], object] | None = told
        self._timer = loop.call_later(timeout_s, self._expire)

    def settle(self, written: bool) -> None:
        """Tell it, once, behind what runs now."""
        told, self._told = self._told, None
        if told is not None:
            self._timer.cancel()
            self._loop.call_soon(told, written)

    def _expire(self) -> None:
        """Nobody has confirmed in time."""
        self.settle(False)
