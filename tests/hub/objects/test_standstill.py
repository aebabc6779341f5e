"""What is slow is told from what stands still."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hub.objects.standstill import Speed, TooSlowError, moving, unsent


def any_speed() -> Speed:
    return Speed(lambda: 0, 0)


async def test_what_moves_at_every_look_may_last() -> None:
    left, looks = 1000, 0
    done = asyncio.Event()

    def less() -> int:
        nonlocal left, looks
        looks += 1
        left -= 1
        if looks > 10:
            done.set()
        return left

    async with moving(less, 100, 0.01, any_speed()):
        await done.wait()
    assert looks == 12, "ten, one before them, and one at the end"


async def test_what_does_not_move_is_ended() -> None:
    looks = 0

    def some_at_first() -> int:
        nonlocal looks
        looks += 1
        return 1000 if looks == 1 else 1050

    with pytest.raises(TimeoutError):
        async with moving(some_at_first, 100, 0.01, any_speed()):
            await asyncio.Event().wait()
    assert looks == 4, "at the second look there was less, at the third there was not; the last is for the speed"


async def test_what_ends_at_once_is_looked_at_no_more() -> None:
    looks = 0

    def count() -> int:
        nonlocal looks
        looks += 1
        return 0

    async with moving(count, 100, 0.001, any_speed()):
        pass
    await asyncio.sleep(0.02)
    assert looks == 2, "at the beginning and at the end"


async def test_what_moves_too_slowly_is_ended() -> None:
    left = 1_000_000

    def one_less() -> int:
        nonlocal left
        left -= 1
        return left

    speed = Speed(lambda: 1_000_000, 0.03)
    with pytest.raises(TooSlowError):
        async with moving(one_less, 100, 0.01, speed):
            await asyncio.Event().wait()
    with pytest.raises(TooSlowError):
        async with moving(lambda: 0, 100, 60, speed):
            raise AssertionError("so slow a client gets nothing more")


async def test_how_fast_something_must_be_may_change() -> None:
    least = 0
    speed = Speed(lambda: least, 10)
    speed.add(500, 20)
    assert not speed.is_too_slow()
    least = 26
    assert speed.is_too_slow()
    assert not speed.is_too_slow(20)
    speed.add(20, 0)
    assert not speed.is_too_slow()
    assert speed.is_too_slow(0, 1)


async def test_a_slow_beginning_is_no_reason() -> None:
    speed = Speed(lambda: 1000, 10)
    assert not speed.is_too_slow(0, 10)
    assert speed.is_too_slow(0, 10.1)


async def test_the_time_of_all_pieces_counts_together() -> None:
    speed = Speed(lambda: 1000, 0.0)
    for _ in range(3):
        async with moving(lambda: 0, 1_000_000, 60, speed):
            await asyncio.sleep(0)
    assert not speed.is_too_slow()
    assert not speed.is_too_slow(0, 2999)
    assert speed.is_too_slow(0, 3001)


async def test_an_exception_passes() -> None:
    with pytest.raises(KeyError):
        async with moving(lambda: 0, 100, 1, any_speed()):
            raise KeyError


async def test_bytes_in_the_buffer_of_the_system_are_unsent() -> None:
    """They leave it when the other side reads, long before more is taken from the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        reader.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
        with reader:
            assert unsent(transport) == 0
            size = 20_000_000
            transport.write(b"x" * size)
            in_process = transport.get_write_buffer_size()
            assert in_process < unsent(transport) <= size
            before, got = unsent(transport), 0
            while unsent(transport) >= before:
                got += len(await asyncio.to_thread(reader.recv, 65536))
            assert got < size - in_process, "nothing more was taken from the process yet, and still it moves"
            transport.abort()
            await asyncio.sleep(0)
