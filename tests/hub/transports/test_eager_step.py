"""Messages that are handled where they come: in order, one at a time, and in the task of their connection."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hub.core.errors import CloseCode
from hub.core.time_slice import SLICE_S
from hub.transports.eager_step import StartedWork, eager_step
from hub.transports.frames import whole_text
from hub.transports.receive_loop import receive_loop
from hub.transports.runtime import AsyncioLoop, SystemClock
from hub.transports.socket import Socket
from hub.transports.uvicorn_protocol import MAX_EAGER_FRAMES, HubWebSocketProtocol
from tests.hub.transports.harness import RawClient, listening, socket_app
from tests.world import take_turns

TEXT = 0x81
Receive = Callable[[bytes], Any]


class Stage:
    """A task that takes up what :func:`begin` leaves to do, as a connection's does."""

    def __init__(self) -> None:
        self._left: asyncio.Queue[Awaitable[None]] = asyncio.Queue()
        self.done: list[object] = []
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            work = await self._left.get()
            try:
                await work
                self.done.append("finished")
            except Exception as fault:
                self.done.append(fault)

    async def eager_step(self, work: Any, *, go_on: bool = True) -> Awaitable[None] | None:
        """From a callback of the loop, as a server would."""
        began: asyncio.Future[Awaitable[None] | None] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: began.set_result(eager_step(work, self.task, loop)))
        left = await began
        if left is not None and go_on:
            self._left.put_nowait(left)
        return left


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await asyncio.sleep(0)
    yield stage
    stage.task.cancel()
    await asyncio.gather(stage.task, return_exceptions=True)


async def test_what_waits_for_nothing_is_done_at_once(stage: Stage) -> None:
    seen: list[object] = []

    async def work() -> None:
        seen.append(asyncio.current_task())

    assert await stage.eager_step(work()) is None
    assert seen == [stage.task]


async def test_what_waits_goes_on_in_the_task(stage: Stage) -> None:
    seen: list[object] = []
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
            seen.append(await answer)
            seen.append(asyncio.current_task())

    assert isinstance(await stage.eager_step(work()), StartedWork)
    await asyncio.sleep(0.01)
    answer.set_result("here")
    while not stage.done:
        await asyncio.sleep(0)
    assert seen == ["here", stage.task]
    assert stage.done == ["finished"]


async def test_a_timeout_that_began_at_once_ends_the_work_and_not_the_task(stage: Stage) -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    await stage.eager_step(work())
    while not stage.done:
        await asyncio.sleep(0.005)
    assert isinstance(stage.done[0], TimeoutError)
    assert not stage.task.done()


@pytest.mark.parametrize("waits", [False, True])
async def test_a_fault_of_the_work_is_raised_in_the_task(stage: Stage, waits: bool) -> None:
    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise ValueError("mine")

    await stage.eager_step(work())
    while not stage.done:
        await asyncio.sleep(0)
    assert repr(stage.done[0]) == "ValueError('mine')"


async def test_work_of_a_task_that_is_cancelled_hears_of_it(stage: Stage) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    await stage.eager_step(work())
    await asyncio.sleep(0)
    stage.task.cancel()
    await asyncio.gather(stage.task, return_exceptions=True)
    assert seen == ["cancelled"]


async def test_work_that_nobody_goes_on_with_is_closed(stage: Stage) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("closed")

    left = await stage.eager_step(work(), go_on=False)
    assert left is not None
    going_on = left.__await__()
    next(going_on)
    going_on.close()
    assert seen == ["closed"]


# -- frames -------------------------------------------------------------------------------------------------------------


def frame(payload: bytes, first: int = TEXT) -> bytes:
    mask = random.Random(len(payload)).randbytes(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + mask + masked


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 300, 65535])
def test_a_whole_frame_is_read_and_no_part_of_one(size: int) -> None:
    payload = b"x" * size
    whole = frame(payload)
    assert whole_text(b"??" + whole + b"more", 2, 65535) == (payload, 2 + len(whole))
    assert whole_text(whole, 0, size) == (payload, len(whole))
    assert whole_text(whole, 0, size - 1) is None
    for cut in {1, 2, 3, 5, 6, 7, 8, len(whole) // 2, len(whole) - 1}:
        if cut < len(whole):
            assert whole_text(whole[:cut], 0, 65535) is None


@pytest.mark.parametrize(
    "other", [frame(b"x", 0x01), frame(b"x", 0x82), frame(b"x", 0x89), frame(b"x", 0xC1), b"\x81\x05Hello", frame(b"x" * 65536)]
)
def test_other_frames_are_the_parsers(other: bytes) -> None:
    assert whole_text(other, 0, 1 << 20) is None


# -- on a server --------------------------------------------------------------------------------------------------------


class Log:
    """A handler that says what it got, and that it was alone."""

    def __init__(self, waits: Callable[[], float | None]) -> None:
        self.got: list[bytes] = []
        self.together = 0
        self.busy = False
        self._waits = waits

    async def receive(self, payload: bytes) -> None:
        self.together += self.busy
        self.busy = True
        self.got.append(payload)
        seconds = self._waits()
        if seconds is not None:
            await asyncio.sleep(seconds)
        self.busy = False


async def converse(socket: Socket, receive: Receive) -> None:
    """The receive loop, with the clock and the loop of a running hub."""
    await receive_loop(socket, receive, socket.close, socket.close, clock=SystemClock(), loop=AsyncioLoop(), log_event="message_failed")


def conversation(receive: Receive, ended: asyncio.Event | None = None) -> Any:
    async def serve(socket: Socket) -> None:
        await socket.accept()
        await converse(socket, receive)
        if ended is not None:
            ended.set()

    return socket_app(serve)


@pytest.mark.parametrize("frames", [True, False])
@pytest.mark.parametrize("seed", range(6))
async def test_any_stream_in_any_pieces_is_handled_in_order_one_at_a_time(frames: bool, seed: int) -> None:
    rng = random.Random(seed)
    log = Log(lambda: rng.choice([None, None, None, 0.0, 0.001]) if seed % 3 else None)
    sent: list[bytes] = []
    stream = bytearray()
    for number in range(150):
        payload = b"%d:" % number + b"x" * rng.choice([0, 1, 100, 122, 123, 124, 125, 400, 70_000 if number % 50 == 0 else 9])
        sent.append(payload)
        if rng.random() < 0.15:  # in pieces, with a ping amid them
            half = len(payload) // 2
            stream += frame(payload[:half], 0x01) + frame(b"ping", 0x89) + frame(payload[half:], 0x80)
        else:
            stream += frame(payload)
        if rng.random() < 0.1:
            stream += frame(b"", 0x8A)
    async with listening(conversation(log.receive), frames=frames) as port:
        client = await RawClient.connect(port)
        left = bytes(stream)
        while left:
            size = rng.choice([1, 2, 7, 60, 500, 4000, 100_000])
            client.writer.write(left[:size])
            left = left[size:]
            await client.writer.drain()
            if rng.random() < 0.5:
                await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while len(log.got) < len(sent):
                await asyncio.sleep(0.005)
        client.writer.close()
    assert log.got == sent
    assert log.together == 0


async def test_nearly_all_are_handled_without_a_turn_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[object] = []
    enqueue = HubWebSocketProtocol._enqueue
    monkeypatch.setattr(HubWebSocketProtocol, "_enqueue", lambda self, message: (queued.append(message), enqueue(self, message)))
    log = Log(lambda: None)
    async with listening(conversation(log.receive)) as port, connect(f"ws://127.0.0.1:{port}/") as client:
        for number in range(50):
            await client.send(str(number))
            while len(log.got) <= number:
                await asyncio.sleep(0)
    assert log.got == [b"%d" % number for number in range(50)]
    assert len(queued) == 1  # the first shows where frames begin


async def test_many_in_one_read_do_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(lambda: None)
    read: list[int] = []
    data_received = HubWebSocketProtocol.data_received

    def counted(self: HubWebSocketProtocol, data: bytes) -> None:
        before = len(log.got)
        data_received(self, data)
        read.append(len(log.got) - before)

    monkeypatch.setattr(HubWebSocketProtocol, "data_received", counted)
    async with listening(conversation(log.receive)) as port:
        client = await RawClient.connect(port)
        client.writer.write(frame(b"first"))
        while not log.got:
            await asyncio.sleep(0.001)
        await take_turns()  # until the conversation waits for the next frame
        client.writer.write(b"".join(frame(b"%d" % number) for number in range(1000)))
        while len(log.got) < 1001:
            await asyncio.sleep(0.001)
        client.writer.close()
    assert log.got[1:] == [b"%d" % number for number in range(1000)]
    assert max(read) == MAX_EAGER_FRAMES


@pytest.mark.parametrize("frames", [True, False])
async def test_messages_that_came_together_give_way_to_others(frames: bool) -> None:
    turns = 0
    handled: list[int] = []

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def receive(payload: bytes) -> None:
        handled.append(turns)
        time.sleep(SLICE_S * 1.2)  # one message uses a slice up

    async with listening(conversation(receive), frames=frames) as port:
        client = await RawClient.connect(port)
        client.writer.write(frame(b"first"))
        while not handled:
            await asyncio.sleep(0.001)
        ticking = asyncio.ensure_future(others())
        client.writer.write(b"".join(frame(b"%d" % number) for number in range(100)))
        while len(handled) < 101:
            await asyncio.sleep(0.001)
        ticking.cancel()
        client.writer.close()
    assert max(handled[1:].count(turn) for turn in handled[1:]) <= 2


async def test_nothing_is_handled_behind_a_close() -> None:
    got: list[bytes] = []
    sockets: list[Socket] = []

    async def serve(socket: Socket) -> None:
        sockets.append(socket)
        await socket.accept()
        await converse(socket, receive)

    async def receive(payload: bytes) -> None:
        got.append(payload)
        if payload == b"end":
            sockets[0].close(4000, "enough")

    async with listening(socket_app(serve)) as port:
        client = await RawClient.connect(port)
        client.writer.write(frame(b"first"))
        while not got:
            await asyncio.sleep(0.001)
        client.writer.write(frame(b"second") + frame(b"end") + frame(b"too late"))
        assert await client.reader.readexactly(10) == b"\x88\x08" + (4000).to_bytes(2, "big") + b"enough"
        client.writer.close()
    assert got == [b"first", b"second", b"end"]


@pytest.mark.parametrize("waits", [False, True])
async def test_a_fault_ends_its_own_connection_and_is_logged_once(waits: bool) -> None:
    async def receive(payload: bytes) -> None:
        if payload == b"bad":
            if waits:
                await asyncio.sleep(0)
            raise ValueError("mine")

    with capture_logs() as logs:
        async with listening(conversation(receive)) as port, connect(f"ws://127.0.0.1:{port}/") as client:
            await client.send("good")
            await asyncio.sleep(0.01)
            await client.send("bad")
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == CloseCode.INTERNAL
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["message_failed"]


async def test_a_client_that_goes_while_its_message_waits() -> None:
    ended, going_on = asyncio.Event(), asyncio.Event()
    done: list[bytes] = []

    async def receive(payload: bytes) -> None:
        if payload == b"wait":
            await going_on.wait()
        done.append(payload)

    async with listening(conversation(receive, ended)) as port:
        client = await RawClient.connect(port)
        client.writer.write(frame(b"first"))
        while not done:
            await asyncio.sleep(0.001)
        client.writer.write(frame(b"wait"))
        await asyncio.sleep(0.01)
        client.writer.transport.abort()
        await asyncio.sleep(0.01)
        assert not ended.is_set()
        going_on.set()
        async with asyncio.timeout(10):
            await ended.wait()
    assert done == [b"first", b"wait"]
