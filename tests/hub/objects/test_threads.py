"""Files have threads of their own."""

from __future__ import annotations

import asyncio
import os
import threading

from hub.objects.threads import THREADS, in_hashing_thread, in_thread

WITHIN_S = 30.0


async def test_a_folder_that_hangs_holds_up_no_other_work() -> None:
    goes_on = threading.Event()
    hanging = [asyncio.ensure_future(in_thread(goes_on.wait, WITHIN_S)) for _ in range(THREADS + 4)]
    try:
        async with asyncio.timeout(WITHIN_S / 2):
            assert await asyncio.to_thread(lambda: "here") == "here"
            assert await in_hashing_thread(lambda: "there") == "there"
        assert not any(each.done() for each in hanging)
    finally:
        goes_on.set()
    assert all(await asyncio.gather(*hanging))


async def test_hashing_gives_way_to_the_event_loop() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    process = niceness()
    assert await in_hashing_thread(niceness) == min(19, process + 10)
    assert await in_thread(niceness) == process  # a download waits for these


async def test_one_thread_hashes_at_a_time() -> None:
    """Several would compute while the event loop waits for the one that holds Python's lock."""
    goes_on, begun = threading.Event(), threading.Event()

    def first() -> str:
        assert goes_on.wait(WITHIN_S)
        return "first"

    def second() -> str:
        begun.set()
        return "second"

    hashing = [asyncio.ensure_future(in_hashing_thread(first)), asyncio.ensure_future(in_hashing_thread(second))]
    await asyncio.gather(*(in_thread(lambda: None) for _ in range(2 * THREADS)))
    assert not begun.is_set()
    goes_on.set()
    assert await asyncio.gather(*hashing) == ["first", "second"]
