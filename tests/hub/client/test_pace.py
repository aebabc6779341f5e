import asyncio
from collections.abc import AsyncIterator, Iterable

from hub.client.pace import Due, Progress, send_paced
from hub.client.producer import Outcome, Producer
from tests.hub.client.fake_hub import FakeHub, taken


async def _source(dues: Iterable[Due]) -> AsyncIterator[Due]:
    for due in dues:
        yield due


def _due(number: int, at_s: float = 0.0) -> Due:
    return Due(at_s, b'{"id":%d}' % number, number, f"line {number}")


async def _send(hub: FakeHub, events: AsyncIterator[Due], stop: asyncio.Event | None = None, **bounds: int) -> Progress:
    progress = Progress()
    async with hub.running(), Producer(hub.url) as producer:
        await send_paced(events, producer, progress, stop=stop or asyncio.Event(), on_batch=lambda: None, **bounds)
    return progress


def _sizes(hub: FakeHub) -> list[int]:
    return [len(events) for _, events in hub.requests]


async def test_what_is_due_at_once_leaves_in_batches_of_1000() -> None:
    hub = FakeHub()
    progress = await _send(hub, _source(_due(number) for number in range(2_500)))
    assert _sizes(hub) == [1000, 1000, 500]
    assert (progress.sent, progress.accepted, progress.simulated_ms) == (2_500, 2_500, 2_499)
    assert [event["id"] for _, events in hub.requests for event in events] == list(range(2_500))


async def test_a_batch_is_bounded_in_bytes() -> None:
    hub = FakeHub()
    await _send(hub, _source(_due(number) for number in range(4)), batch_bytes=20)
    assert _sizes(hub) == [3, 1]


async def test_nothing_leaves_before_its_time() -> None:
    hub = FakeHub()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await _send(hub, _source([_due(1, 5.0), _due(2, 5.0), _due(3, 5.05), _due(4, 5.055)]))
    assert loop.time() - began >= 0.05
    assert [event["id"] for event in hub.requests[0][1]] == [1, 2]
    assert sum(_sizes(hub)) == 4


async def test_a_slow_source_does_not_hold_back_what_it_gave() -> None:
    hub = FakeHub()
    arrived = asyncio.Event()

    async def slow() -> AsyncIterator[Due]:
        yield _due(1)
        while not hub.requests:
            await asyncio.sleep(0.001)
        arrived.set()
        yield _due(2)

    await _send(hub, slow())
    assert arrived.is_set()
    assert _sizes(hub) == [1, 1]


async def test_stopping_while_waiting_for_the_next() -> None:
    hub = FakeHub()
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    progress = await _send(hub, _source([_due(1), _due(2, 3600.0)]), stop)
    assert progress.sent == 1


async def test_stopping_while_the_source_is_silent() -> None:
    hub = FakeHub()
    stop = asyncio.Event()

    async def silent() -> AsyncIterator[Due]:
        yield _due(1)
        asyncio.get_running_loop().call_later(0.03, stop.set)
        await asyncio.sleep(3600)

    progress = await _send(hub, silent(), stop)
    assert progress.sent == 1


async def test_stopping_before_anything() -> None:
    hub = FakeHub()
    stop = asyncio.Event()
    stop.set()
    assert (await _send(hub, _source([_due(1)]), stop)).sent == 0


async def test_what_was_refused_is_counted_by_reason() -> None:
    hub = FakeHub()
    hub.answers = [taken(3, [{"index": 0, "status": {"message": "late"}}, {"index": 2, "status": {"message": "late"}}])]
    progress = await _send(hub, _source(_due(number) for number in range(3)))
    assert (progress.accepted, progress.refused) == (1, 2)
    assert dict(progress.reasons) == {"line 0: late": 1, "line 2: late": 1}


def test_only_the_first_reasons_keep_the_name_of_their_event() -> None:
    progress = Progress()
    progress.add([_due(number) for number in range(30)], Outcome(refused=[(number, "late") for number in range(30)]))
    assert len(progress.reasons) == 11
    assert progress.reasons["late"] == 20
