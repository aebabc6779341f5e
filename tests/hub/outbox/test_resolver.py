"""Names are looked up for one tenant beside the look-ups of another that never end, and only allowed addresses are returned."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from hub.outbox.guard import ForbiddenAddressError, Guard
from hub.outbox.resolver import TENANT, GuardedResolver, Resolver


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Resolver, threading.Event, list[str]]]:
    """A resolver of four threads, what lets the look-ups of names that hang go on, and all names that were asked for."""
    real, gate, asked = socket.getaddrinfo, threading.Event(), list[str]()

    def getaddrinfo(host: str, *arguments: Any, **more: Any) -> Any:
        asked.append(host)
        if host.startswith("hangs"):
            gate.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return real("127.0.0.1", *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    made = Resolver(4, 0.25)
    yield made, gate, asked
    gate.set()
    await made.close()


def looking_up(resolver: Resolver, tenant: str, host: str) -> asyncio.Task[list[ResolveResult]]:
    context = contextvars.copy_context()
    context.run(TENANT.set, tenant)
    return asyncio.get_running_loop().create_task(resolver.resolve(host, 80, socket.AF_INET), context=context)


async def until(asked: list[str], count: int) -> None:
    async with asyncio.timeout(20):
        while len(asked) < count:
            await asyncio.sleep(0.005)


async def test_who_asks_for_names_that_nobody_answers_for_does_not_hold_up_the_others(
    names: tuple[Resolver, threading.Event, list[str]],
) -> None:
    resolver, gate, asked = names
    hanging = [looking_up(resolver, "bad", f"hangs{number}.example") for number in range(20)]
    await until(asked, 2)
    async with asyncio.timeout(20):
        for number in range(10):
            (found,) = await looking_up(resolver, "good", f"receiver{number}.example")
            assert (found["hostname"], found["host"], found["port"]) == (f"receiver{number}.example", "127.0.0.1", 80)
    assert len([host for host in asked if host.startswith("hangs")]) == 2, "half of the threads stay free"
    gate.set()
    ends = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(end, socket.gaierror) for end in ends)


async def test_a_look_up_that_nobody_waits_for_any_more_keeps_its_thread_until_it_ends(
    names: tuple[Resolver, threading.Event, list[str]],
) -> None:
    resolver, gate, asked = names
    given_up = [looking_up(resolver, "bad", f"hangs{number}.example") for number in range(5)]
    await until(asked, 2)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    following = looking_up(resolver, "bad", "receiver.example")
    await asyncio.sleep(0)
    assert len(asked) == 2
    gate.set()
    async with asyncio.timeout(20):
        assert (await following)[0]["host"] == "127.0.0.1"
    assert asked == ["hangs0.example", "hangs1.example", "receiver.example"], "those that were given up had no turn"


async def test_a_name_that_does_not_exist_is_an_error() -> None:
    resolver = Resolver(2, 0.5)
    with pytest.raises(OSError, match=r"."):
        await resolver.resolve("receiver.invalid", 80)
    await resolver.close()


class Answers(AbstractResolver):
    """Gives out what it is told, one list after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.closed = False

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        kind = socket.AF_INET
        return [ResolveResult(hostname=host, host=each, port=port, family=kind, proto=0, flags=0) for each in self.answers.pop(0)]

    async def close(self) -> None:
        self.closed = True


async def test_a_name_gives_only_what_may_be_called() -> None:
    resolver = GuardedResolver(Guard(), Answers(["10.0.0.1", "8.8.8.8", "::1"]))
    assert [each["host"] for each in await resolver.resolve("receiver.example", 80)] == ["8.8.8.8"]


async def test_a_name_that_gives_nothing_else_is_refused() -> None:
    resolver = GuardedResolver(Guard(), Answers(["127.0.0.1"]))
    with pytest.raises(ForbiddenAddressError, match=r"^the address of receiver\.example is not public") as refused:
        await resolver.resolve("receiver.example", 80)
    assert "127" not in str(refused.value), "what a name means in this network is not told"


async def test_a_name_that_is_bound_anew_is_refused() -> None:
    inner = Answers(["8.8.8.8"], ["127.0.0.1"])
    resolver = GuardedResolver(Guard(), inner)
    await resolver.resolve("receiver.example", 80)
    with pytest.raises(ForbiddenAddressError):
        await resolver.resolve("receiver.example", 80)
    await resolver.close()
    assert inner.closed
