"""What every implementation of :class:`hub.cluster.ports.Links` promises, tried on each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from hub.cluster.link.tuning import Tuning
from hub.cluster.ports import Call, CallEndedError, LinkError, NodeGoneError, UnreachableError
from hub.cluster.relay.socket import KIND as SOCKETS
from tests.hub.cluster.sockets import SocketCluster
from tests.support.cluster import MemoryCluster

WITHIN_S = 20.0
TUNING = Tuning(
    max_calls=8,
    call_window=64 * 1024,
    link_window=256 * 1024,
    max_piece=512 * 1024,
    part=4096,
    ping_s=0.05,
    dead_s=0.3,
    dial_s=1.0,
    back_off_s=(0.01, 0.05),
    slow_s=0.1,
)


async def until(reached: Callable[[], bool]) -> None:
    """Return as soon as something is the case."""
    async with asyncio.timeout(WITHIN_S):
        while not reached():
            await asyncio.sleep(0.002)


@pytest.fixture(params=["memory", "sockets"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Three nodes with small windows and short times."""
    made = MemoryCluster(3, tuning=TUNING) if request.param == "memory" else await SocketCluster.start(3, TUNING)
    yield made
    await made.close()


async def asked_until_it_lives(asker: Any, asked: Any) -> bytes:
    """What a node answers, once it can be reached again: after a connection that failed none is tried for a moment."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return bytes(await asker.links.ask(asked.incarnation, "echo", timeout_s=WITHIN_S))
            except UnreachableError:
                await asyncio.sleep(0.01)


async def echo(call: Call) -> None:
    await call.send(call.head + b"|" + call.body, last=True)


async def hang(call: Call) -> None:
    await call.receive()


async def test_a_question_is_answered(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    assert await a.links.ask(b.incarnation, "echo", b"head", b"body", timeout_s=WITHIN_S) == b"head|body"


async def test_both_sides_call(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    a.links.serve("echo", echo)
    b.links.serve("echo", echo)
    asked = [
        *(a.links.ask(b.incarnation, "echo", b"a%d" % n, timeout_s=WITHIN_S) for n in range(4)),
        *(b.links.ask(a.incarnation, "echo", b"b%d" % n, timeout_s=WITHIN_S) for n in range(4)),
    ]
    answers = await asyncio.gather(*asked)
    assert answers == [*(b"a%d|" % n for n in range(4)), *(b"b%d|" % n for n in range(4))]


async def test_the_handler_knows_who_calls_and_how_far_it_came(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    seen: list[tuple[str, int]] = []

    async def look(call: Call) -> None:
        seen.append((call.node, call.hops))
        await call.send(b"")

    b.links.serve("look", look)
    assert await a.links.ask(b.incarnation, "look", timeout_s=WITHIN_S) == b""
    assert seen == [(a.incarnation, 1)]


async def test_a_request_that_came_over_a_link_goes_over_no_other(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    with pytest.raises(UnreachableError, match="circles"):
        await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S, hops=1)


REQUEST: ContextVar[str] = ContextVar("REQUEST", default="")


async def test_a_link_does_not_keep_the_context_of_the_request_that_needed_it_first(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    seen: list[str] = []

    async def look(call: Call) -> None:
        seen.append(REQUEST.get())
        await call.send(b"", last=True)

    for node in (a, b):
        node.links.serve("echo", echo)
        node.links.serve("look", look)

    async def first_request() -> None:
        REQUEST.set("the first")
        await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S)

    await asyncio.create_task(first_request())
    await b.links.ask(a.incarnation, "look", timeout_s=WITHIN_S)
    assert seen == [""]


async def test_a_kind_has_one_handler(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    with pytest.raises(ValueError, match="handler already"):
        b.links.serve("echo", echo)
    with pytest.raises(CallEndedError, match="no calls of this kind"):
        await a.links.ask(b.incarnation, "other", timeout_s=WITHIN_S)


async def test_an_incarnation_that_nobody_has_is_gone(cluster: Any) -> None:
    with pytest.raises(NodeGoneError):
        await cluster.nodes[0].links.ask("ffffffffffff", "echo", timeout_s=WITHIN_S)


async def test_pieces_come_in_order_in_both_directions(cluster: Any) -> None:
    a, b, _ = cluster.nodes

    async def mirror(call: Call) -> None:
        while (piece := await call.receive()) is not None:
            await call.send(piece)

    b.links.serve("mirror", mirror)
    call = await a.links.open(b.incarnation, "mirror")
    sent = [b"%d" % n * (n % 7) for n in range(500)]

    async def speak() -> None:
        for piece in sent:
            await call.send(piece)
        call.finish()

    speaking = asyncio.create_task(speak())
    async with asyncio.timeout(WITHIN_S):
        heard = [await call.receive() for _ in sent]
        assert await call.receive() is None
        await speaking
    assert heard == sent


async def test_a_long_request_and_a_long_piece_arrive_whole(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    body = bytes(range(256)) * 1000
    assert await a.links.ask(b.incarnation, "echo", b"h" * 5000, body, timeout_s=WITHIN_S) == b"h" * 5000 + b"|" + body


async def test_a_piece_above_the_limit_is_not_sent(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("hang", hang)
    too_long = b"x" * (TUNING.max_piece + 1)
    with pytest.raises(ValueError, match="at most 524288 bytes"):
        await a.links.ask(b.incarnation, "hang", too_long, timeout_s=WITHIN_S)
    call = await a.links.open(b.incarnation, "hang")
    with pytest.raises(ValueError, match="at most 524288 bytes"):
        await call.send(too_long)
    call.cancel()


async def test_who_does_not_read_makes_the_other_side_wait(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    read = asyncio.Event()
    heard: list[bytes] = []

    async def slow(call: Call) -> None:
        await read.wait()
        while (piece := await call.receive()) is not None:
            heard.append(piece)
        await call.send(b"done")

    b.links.serve("slow", slow)
    b.links.serve("echo", echo)
    call = await a.links.open(b.incarnation, "slow")
    sent = 0

    async def pour() -> None:
        nonlocal sent
        for _ in range(64):
            await call.send(b"x" * 4096)
            sent += 1
        call.finish()

    pouring = asyncio.create_task(pour())
    # other calls go by, and after this one all that may be sent has been
    for _ in range(5):
        assert await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S) == b"|"
    assert 0 < sent * 4096 <= TUNING.call_window
    assert not pouring.done()
    read.set()
    async with asyncio.timeout(WITHIN_S):
        await pouring
        assert await call.receive() == b"done"
    assert heard == [b"x" * 4096] * 64


async def test_all_calls_together_have_a_limit_of_what_is_unread(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("hang", hang)
    sent = 0

    async def pour(call: Call) -> None:
        nonlocal sent
        while True:
            await call.send(b"x" * 4096)
            sent += 4096

    calls = [await a.links.open(b.incarnation, "hang") for _ in range(8)]
    # the handler of each reads one piece and returns: what comes after it is dropped, and counts no longer
    pouring = [asyncio.create_task(pour(call)) for call in calls]
    async with asyncio.timeout(WITHIN_S):
        ended = await asyncio.gather(*pouring, return_exceptions=True)
    assert all(isinstance(error, CallEndedError) for error in ended)
    assert sent <= TUNING.link_window + 8 * TUNING.call_window


async def test_sockets_that_nobody_reads_leave_room_to_others(cluster: Any) -> None:
    """As many as would fill the window of the link, if they were calls like others."""
    a, b, _ = cluster.nodes
    filled = 0

    async def never(call: Call) -> None:
        await asyncio.Event().wait()

    async def pour(call: Call) -> None:
        nonlocal filled
        for _ in range(8):
            await call.send(b"x" * 4000)
        filled += 1
        while True:
            await call.send(b"x" * 4000)

    b.links.serve(SOCKETS, never)
    b.links.serve("echo", echo)
    pouring = [asyncio.create_task(pour(await a.links.open(b.incarnation, SOCKETS))) for _ in range(5)]
    await until(lambda: filled == len(pouring))
    assert await a.links.ask(b.incarnation, "echo", b"x" * 4000, timeout_s=WITHIN_S) == b"x" * 4000 + b"|"
    for task in pouring:
        task.cancel()


@pytest.mark.parametrize("way", ["nothing", "a piece now and then"])
async def test_calls_that_nobody_reads_are_ended_before_they_fill_the_link(cluster: Any, way: str) -> None:
    """As many as have room for more than the link: who reads, however much, goes on."""
    a, b, _ = cluster.nodes
    read = 0

    async def never(call: Call) -> None:
        while way == "a piece now and then":
            await call.receive()
            await asyncio.sleep(TUNING.slow_s / 2)
        await asyncio.Event().wait()

    async def reads(call: Call) -> None:
        nonlocal read
        while (piece := await call.receive()) is not None:
            read += len(piece)

    async def pour(call: Call, size: int = 4000) -> None:
        while True:
            await call.send(b"x" * size)

    b.links.serve("never", never)
    b.links.serve("reads", reads)
    slow = [asyncio.create_task(pour(await a.links.open(b.incarnation, "never"))) for _ in range(6)]
    good = asyncio.create_task(pour(await a.links.open(b.incarnation, "reads")))
    counters = b.links.counters
    await until(lambda: counters.ended_slow >= 3)
    before = read
    await until(lambda: read > before + 10 * TUNING.call_window)
    assert not good.done()
    ended = [task for task in slow if task.done()]
    assert len(ended) == counters.ended_slow
    for task in ended:
        with pytest.raises(CallEndedError, match="did not read for too long"):
            await task
    for task in [good, *slow]:
        task.cancel()


async def test_unread_pieces_of_ended_calls_give_their_room_back(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    started = asyncio.Event()

    async def never(call: Call) -> None:
        started.set()
        await asyncio.Event().wait()

    b.links.serve("never", never)
    for _ in range(12):  # more than the link's window in all
        started.clear()
        call = await a.links.open(b.incarnation, "never")
        for _ in range(7):
            async with asyncio.timeout(WITHIN_S):
                await call.send(b"x" * 8192)
        await started.wait()
        call.cancel()


async def test_the_caller_cancels(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    ended: list[BaseException] = []
    started = asyncio.Event()

    async def held(call: Call) -> None:
        started.set()
        try:
            await call.receive()
        except LinkError as error:
            ended.append(error)
            raise

    b.links.serve("held", held)
    call = await a.links.open(b.incarnation, "held")
    await started.wait()
    call.cancel()
    call.cancel()
    await until(lambda: bool(ended))
    assert isinstance(ended[0], CallEndedError)
    with pytest.raises(CallEndedError):
        await call.send(b"late")
    with pytest.raises(CallEndedError):
        await call.receive()
    assert b.links.counters.handlers_failed == 0


async def test_a_question_that_is_cancelled_cancels_its_call(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    ended = asyncio.Event()
    started = asyncio.Event()

    async def held(call: Call) -> None:
        started.set()
        assert await call.confirmed(WITHIN_S) is False
        ended.set()

    b.links.serve("held", held)
    asking = asyncio.create_task(a.links.ask(b.incarnation, "held", timeout_s=WITHIN_S))
    await started.wait()
    asking.cancel()
    async with asyncio.timeout(WITHIN_S):
        await ended.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_question_ends_after_its_time(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    ended = asyncio.Event()

    async def held(call: Call) -> None:
        await call.confirmed(WITHIN_S)
        ended.set()

    b.links.serve("held", held)
    with pytest.raises(UnreachableError, match=r"within 0\.05 s"):
        await a.links.ask(b.incarnation, "held", timeout_s=0.05)
    async with asyncio.timeout(WITHIN_S):
        await ended.wait()


async def test_a_handler_that_fails_cancels_the_call(cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    a, b, _ = cluster.nodes

    async def broken(call: Call) -> None:
        raise KeyError(call.head)

    b.links.serve("broken", broken)
    with pytest.raises(CallEndedError, match="failed to answer"):
        await a.links.ask(b.incarnation, "broken", timeout_s=WITHIN_S)
    assert b.links.counters.handlers_failed == 1


async def test_a_handler_that_says_nothing_is_no_answer(cluster: Any) -> None:
    a, b, _ = cluster.nodes

    async def silent(call: Call) -> None:
        """Return at once."""

    b.links.serve("silent", silent)
    with pytest.raises(CallEndedError, match="without an answer"):
        await a.links.ask(b.incarnation, "silent", timeout_s=WITHIN_S)


async def test_a_handler_that_returns_stops_a_caller_who_still_sends(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    call = await a.links.open(b.incarnation, "echo", b"x")
    assert await call.receive() == b"x|"
    assert await call.receive() is None

    async def pour() -> None:
        while True:
            await call.send(b"more")
            await asyncio.sleep(0)

    with pytest.raises(CallEndedError):
        await asyncio.wait_for(pour(), WITHIN_S)


@pytest.mark.parametrize("written", [True, False])
async def test_the_caller_confirms_the_reply(cluster: Any, written: bool) -> None:
    a, b, _ = cluster.nodes
    told: list[bool] = []

    async def careful(call: Call) -> None:
        await call.send(b"reply", last=True)
        told.append(await call.confirmed(WITHIN_S))

    b.links.serve("careful", careful)
    call = await a.links.open(b.incarnation, "careful")
    call.finish()
    assert await call.receive() == b"reply"
    call.confirm(written=written)
    await until(lambda: bool(told))
    assert told == [written]


async def test_a_confirmation_may_come_before_it_is_awaited(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    told: list[bool] = []

    async def careful(call: Call) -> None:
        await call.send(b"reply")
        assert await call.receive() == b"more"
        told.append(await call.confirmed(WITHIN_S))

    b.links.serve("careful", careful)
    call = await a.links.open(b.incarnation, "careful")
    assert await call.receive() == b"reply"
    call.confirm(written=True)
    await call.send(b"more")
    await until(lambda: bool(told))
    assert told == [True]


async def test_a_reply_that_nobody_confirms_was_not_written(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    told: list[bool] = []

    async def careful(call: Call) -> None:
        await call.send(b"reply")
        told.append(await call.confirmed(0.02))

    b.links.serve("careful", careful)
    assert await a.links.ask(b.incarnation, "careful", timeout_s=WITHIN_S) == b"reply"
    await until(lambda: bool(told))
    assert told == [False]


async def test_more_calls_than_the_limit_are_refused(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("hang", hang)
    calls = [await a.links.open(b.incarnation, "hang") for _ in range(TUNING.max_calls)]
    with pytest.raises(UnreachableError, match=r"cluster\.max_calls"):
        await a.links.open(b.incarnation, "hang")
    calls.pop().cancel()
    calls.append(await a.links.open(b.incarnation, "hang"))
    for call in calls:
        call.cancel()


async def test_a_delayed_link_keeps_the_order(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    cluster.delay(a, b, 0.02)
    answers = await asyncio.gather(*(a.links.ask(b.incarnation, "echo", b"%d" % n, timeout_s=WITHIN_S) for n in range(5)))
    assert answers == [b"%d|" % n for n in range(5)]


async def test_a_node_that_changes_is_seen(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    changes: list[bool] = []
    b.nodes.on_changed.append(lambda: changes.append(b.nodes.find(a.incarnation).draining))
    cluster.change(a, draining=True)
    await until(lambda: bool(changes))
    assert changes[-1] is True
