"""Many calls over one link: what each frame of the other node means, and the limits of a link. It knows no sockets."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping

import structlog

from hub.cluster.link.call import LinkCall
from hub.cluster.link.frames import (
    PIECE_OVERHEAD,
    CancelReason,
    Frame,
    FrameError,
    FrameType,
    Request,
    decode_credit,
    encode_credit,
)
from hub.cluster.link.tuning import Counters, Tuning
from hub.cluster.link.window import Window, again
from hub.cluster.ports import Handler, LinkError, TooLongError, TooSlowError, UnreachableError

MAX_HOPS = 1
"""Links that a request goes over at most: a node that was asked by another asks no third one, so that there are no loops."""

_MAX_STREAM = 0xFFFF_FFFF

_PIECE = 1000
"""Calls that are looked at in one piece of the event loop."""
_AT_ONCE = 64
"""Calls that are ended in one piece."""

_log = structlog.get_logger(__name__)


class Multiplexer:
    """The calls between this node and another one, over one connection. ``write`` sends a frame; frames that come go to :meth:`receive`."""

    __slots__ = (
        "_calls",
        "_consumed",
        "_counters",
        "_error",
        "_handlers",
        "_incoming",
        "_next",
        "_parts",
        "_parts_bytes",
        "_relief",
        "_tasks",
        "_tuning",
        "_write",
        "node",
        "unread",
        "window",
    )

    def __init__(
        self,
        node: str,
        write: Callable[[Frame], object],
        handlers: Mapping[str, Handler],
        tuning: Tuning,
        counters: Counters,
        *,
        dialled: bool,
    ) -> None:
        """``node``: the other one; ``dialled``: this node opened the connection."""
        self.node = node
        self.window = Window(tuning.link_window)
        self.unread = 0
        """Bytes that came over the link and that nobody has read."""
        self._write = write
        self._handlers = handlers
        self._tuning = tuning
        self._counters = counters
        self._next = 1 if dialled else 2
        self._calls: dict[int, LinkCall] = {}
        self._incoming = 0
        self._parts: dict[int, list[bytes]] = {}
        self._parts_bytes: dict[int, int] = {}
        self._consumed = 0
        self._error: LinkError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._relief: asyncio.Task[None] | None = None

    # -- for calls ----------------------------------------------------------------------------------------------------

    @property
    def max_piece(self) -> int:
        """See :attr:`hub.cluster.link.call.Link.max_piece`."""
        return self._tuning.max_piece

    def write(self, stream: int, kind: FrameType, payload: bytes = b"") -> None:
        """See :meth:`hub.cluster.link.call.Link.write`."""
        if self._error is not None:
            return
        part = self._tuning.part
        if len(payload) > part:
            view = memoryview(payload)
            end = len(payload) - part
            begin = 0
            while begin < end:
                self._write(Frame(stream, FrameType.PART, bytes(view[begin : begin + part])))
                begin += part
            payload = bytes(view[begin:])
        self._write(Frame(stream, kind, payload))

    def consumed(self, cost: int) -> None:
        """See :meth:`hub.cluster.link.call.Link.consumed`."""
        self.unread -= cost
        self._consumed += cost
        if self._consumed >= self._tuning.link_window // 4:
            self.write(0, FrameType.CREDIT, encode_credit(self._consumed))
            self._consumed = 0

    def forget(self, call: LinkCall) -> None:
        """See :meth:`hub.cluster.link.call.Link.forget`."""
        if self._calls.pop(call.stream, None) is not None:
            if call.answers:
                self._incoming -= 1
            call.released()

    # -- for the node -------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """Calls that are open, in both directions."""
        return len(self._calls)

    @property
    def answering(self) -> int:
        """Handlers that run."""
        return len(self._tasks)

    async def open(self, kind: str, head: bytes, body: bytes, hops: int, *, alone: bool) -> LinkCall:
        """Begin a call; ``alone``: this side sends nothing after the body.

        Raises:
            UnreachableError: the link is broken, or has too many calls; or the request has come over too many links.
            TooLongError: head and body are too long.
        """
        if hops >= MAX_HOPS:
            raise UnreachableError(f"expected a request that has come over fewer than {MAX_HOPS} links, got {hops}: it would go in circles")
        payload = Request(kind, hops + 1, head, body).encode()
        if len(payload) > self._tuning.max_piece:
            raise TooLongError("a request", self._tuning.max_piece, len(payload))
        if len(self._calls) - self._incoming >= self._tuning.max_calls:
            raise UnreachableError(f"{self._tuning.max_calls} calls to {self.node} are open, as many as cluster.max_calls allows")
        await self.window.take(len(payload) + PIECE_OVERHEAD)
        if self._error is not None:
            raise again(self._error)
        call = LinkCall(
            self, self._take_stream(), self.node, hops + 1, head, body, window=self._tuning.window_of(kind), answers=False, alone=alone
        )
        self._calls[call.stream] = call
        self._counters.calls_out += 1
        self.write(call.stream, FrameType.REQUEST_ALONE if alone else FrameType.REQUEST, payload)
        return call

    def receive(self, frame: Frame) -> None:
        """Take a frame of the other node.

        Raises:
            FrameError: the other node broke the protocol; close the connection.
        """
        stream, kind, payload = frame
        if kind == FrameType.PART:
            self._take_part(stream, payload)
            return
        if self._parts:
            payload = self._whole(stream, payload)
        call = self._calls.get(stream)
        if kind in (FrameType.PIECE, FrameType.LAST_PIECE):
            self._take_piece(call, payload, last=kind == FrameType.LAST_PIECE)
        elif kind in (FrameType.REQUEST, FrameType.REQUEST_ALONE):
            self._take_request(stream, payload, alone=kind == FrameType.REQUEST_ALONE)
        elif kind == FrameType.CREDIT:
            amount = decode_credit(payload)
            if stream == 0:
                self.window.give(amount)
            elif call is not None:
                call.credited(amount)
        elif kind == FrameType.END:
            if call is not None:
                call.ended()
        elif kind in (FrameType.WRITTEN, FrameType.NOT_WRITTEN):
            if call is not None:
                call.told(written=kind == FrameType.WRITTEN)
        elif kind == FrameType.CANCEL:
            if call is not None:
                call.cancelled(payload[0] if payload else CancelReason.CANCELLED)
        else:
            raise FrameError(f"unexpected frame of type {kind}")

    def broken(self, reason: str) -> None:
        """The connection is gone: every call that is open ends. Idempotent."""
        if self._error is not None:
            return
        self._error = error = UnreachableError(reason)
        self.window.close(error)
        self._parts.clear()
        self._parts_bytes.clear()
        if self._relief is not None:
            self._relief.cancel()
        for call in list(self._calls.values()):
            call.broken(error)

    async def close(self) -> None:
        """Cancel the handlers that still run, and wait until they have ended."""
        self.broken("the link was closed")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- frames -------------------------------------------------------------------------------------------------------

    def _take_part(self, stream: int, payload: bytes) -> None:
        size = self._parts_bytes.get(stream, 0) + len(payload)
        if size > self._tuning.max_piece:
            raise FrameError(f"expected a piece of at most {self._tuning.max_piece} bytes, got more")
        if sum(self._parts_bytes.values()) + self.unread > self._tuning.link_window + self._tuning.max_piece:
            raise FrameError("more is unread than the link allows")
        self._parts_bytes[stream] = size
        self._parts.setdefault(stream, []).append(payload)

    def _whole(self, stream: int, payload: bytes) -> bytes:
        parts = self._parts.pop(stream, None)
        if parts is None:
            return payload
        del self._parts_bytes[stream]
        parts.append(payload)
        return b"".join(parts)

    def _take_piece(self, call: LinkCall | None, payload: bytes, *, last: bool) -> None:
        cost = len(payload) + PIECE_OVERHEAD
        self.unread += cost
        if self.unread > self._tuning.link_window + self._tuning.max_piece:
            raise FrameError("more is unread than the link allows")
        if call is None:  # it has ended here, and the other side does not know yet
            self.consumed(cost)
            return
        if call.unread + cost > self._tuning.call_window + self._tuning.max_piece + PIECE_OVERHEAD:
            raise FrameError("more is unread than a call allows")
        call.arrived(payload)
        if last:
            call.ended()
        if self.unread > self._tuning.crowded * self._tuning.link_window and self._relief is None:
            self._relief = asyncio.get_running_loop().create_task(self._relieve(), name="hub.cluster.relieve")

    # -- when little room is left ---------------------------------------------------------------------------------------

    async def _relieve(self) -> None:
        """End the calls that hold the most unread bytes for the longest, until others have room again. A call that is read, however much
        it carries, is not ended.
        """
        tuning = self._tuning
        goal = tuning.relieved * tuning.link_window
        try:
            while self.unread > goal:
                slowest = await self._slowest()
                if not slowest:
                    if self.unread <= tuning.crowded * tuning.link_window:
                        return
                    await asyncio.sleep(tuning.slow_s / 4)
                for stream in slowest:
                    call = self._calls.get(stream)
                    if call is not None and call.unread and self.unread > goal:
                        self._counters.ended_slow += 1
                        call.cancel(CancelReason.SLOW, TooSlowError("what the other node sent was not read for too long"))
                await asyncio.sleep(0)
        finally:
            self._relief = None

    async def _slowest(self) -> list[int]:
        """The streams of the calls to end next: of those that are slow, the ones with the greatest product of unread bytes and seconds."""
        now = asyncio.get_running_loop().time()
        slow_s = self._tuning.slow_s
        found: list[tuple[float, int]] = []
        for number, call in enumerate(list(self._calls.values()), 1):
            if call.unread and now - call.stalled_since >= slow_s:
                found.append((call.unread * (now - call.stalled_since), call.stream))
            if number % _PIECE == 0:
                await asyncio.sleep(0)
        return [stream for _, stream in heapq.nlargest(_AT_ONCE, found)]

    def _take_request(self, stream: int, payload: bytes, *, alone: bool) -> None:
        if stream == 0 or stream % 2 == self._next % 2 or stream in self._calls:
            raise FrameError(f"unexpected number of a new call: {stream}")
        request = Request.decode(payload)
        cost = len(payload) + PIECE_OVERHEAD
        self.unread += cost
        self.consumed(cost)
        self._counters.calls_in += 1
        handler = self._handlers.get(request.kind)
        if request.hops > MAX_HOPS:
            self._counters.refused_loop += 1
            self._refuse(stream, CancelReason.LOOP)
        elif handler is None:
            self._counters.refused_kind += 1
            self._refuse(stream, CancelReason.NO_HANDLER)
        elif self._incoming >= self._tuning.max_calls:
            self._counters.refused_busy += 1
            self._refuse(stream, CancelReason.BUSY)
        else:
            window = self._tuning.window_of(request.kind)
            call = LinkCall(self, stream, self.node, request.hops, request.head, request.body, window=window, answers=True, alone=alone)
            self._calls[stream] = call
            self._incoming += 1
            task = asyncio.get_running_loop().create_task(self._answer(call, request.kind, handler), name=f"hub.cluster.{request.kind}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _refuse(self, stream: int, reason: CancelReason) -> None:
        self.write(stream, FrameType.CANCEL, bytes([reason]))

    async def _answer(self, call: LinkCall, kind: str, handler: Handler) -> None:
        try:
            await handler(call)
        except asyncio.CancelledError:
            call.cancel()
            raise
        except Exception as error:
            if isinstance(error, LinkError) and not call.open:
                return  # the call ended while it was answered
            self._counters.handlers_failed += 1
            _log.exception("call_failed", kind=kind, node=self.node)
            call.cancel(CancelReason.FAILED)
        else:
            call.finish()
            if call.open:
                self.write(call.stream, FrameType.CANCEL, bytes([CancelReason.ANSWERED]))
        finally:
            self.forget(call)

    def _take_stream(self) -> int:
        while self._next in self._calls:
            self._advance()
        stream = self._next
        self._advance()
        return stream

    def _advance(self) -> None:
        self._next += 2
        if self._next > _MAX_STREAM:
            self._next = 1 if self._next % 2 else 2
