"""A node follows the database: at once where a change is made, once for many changes, and only so long without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.core.principal import Principal
from hub.security import following
from hub.security.directory import Gone
from hub.security.gate import Failure, Gate
from hub.security.lookup import LookupUnavailableError
from tests.hub.security.conftest import Access, bearer, failure, scope

WITHIN_S = 30.0


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not reached():
            await asyncio.sleep(0.005)


class Source:
    """The database behind a gate, which can be away or hang."""

    def __init__(self, gate: Gate) -> None:
        self._source = gate.directory._database
        self.reads = 0
        self.fault: Exception | None = None
        self.hangs = False
        gate.directory._database = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def changes(self, after: int | None) -> Any:
        self.reads += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        return await self._source.changes(after)


async def let_in(gate: Gate, token: str) -> Principal:
    caller = await gate.identify(scope("/x", bearer(token)))
    assert caller.principal is not None
    return caller.principal


async def test_a_flood_of_changes_is_read_at_once_and_told_once(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "GAP_S", 0.0)
    gate = access.make_gate(refresh_s=3600)
    source = Source(gate)
    told: list[int] = []
    gate.following.announce = lambda: told.append(source.reads)
    await gate.start()
    assert source.reads == 1
    for _ in range(1000):
        gate.refresh_soon()
    await until(lambda: source.reads == 2)
    for _ in range(1000):
        gate.following.heard_of_change()
    await until(lambda: source.reads == 3)
    assert told == [1]  # before it is read here; and a word of another node is not said again
    await gate.stop()


async def test_the_word_of_another_node_makes_it_look_at_once(access: Access) -> None:
    gate = access.make_gate(refresh_s=3600)
    ended: list[Gone] = []
    gate.on_revoked.append(ended.append)
    ana = await let_in(gate, await access.token("ana"))
    await gate.start()
    await access.store.remove_token("ana")
    gate.following.heard_of_change()
    await until(lambda: ended)
    assert ended[0](ana)
    await gate.stop()


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_without_the_database_known_callers_go_on_for_a_while(access: Access, how: str) -> None:
    """Then they are refused with 503, and what they opened ends; until the database answers again."""
    gate = access.make_gate(refresh_s=0.01, demo=True)
    source = Source(gate)
    token, never_seen = await access.token("ana"), await access.token("bob")
    ana = await let_in(gate, token)
    anonymous = Principal("demo", "anonymous", frozenset(), "", "", anonymous=True)
    ended: list[Gone] = []
    gate.following.on_unverified.append(ended.append)
    await gate.start()
    with capture_logs() as logs:
        if how == "hangs":
            source.hangs = True
        else:
            source.fault = ConnectionError("no route")
        reads = source.reads
        await until(lambda: source.reads > reads)
        access.clock.now += gate.directory.max_stale_s - 1
        assert await let_in(gate, token) == ana
        assert gate.directory.give_up_stale() is None
        assert ended == []
        access.clock.now += 2
        await until(lambda: ended)
        assert (ended[0](ana), ended[0](anonymous)) == (True, False)
        for shown in (token, never_seen):
            with pytest.raises(LookupUnavailableError, match=r"auth\.max_stale_s"):
                await gate.identify(scope("/x", bearer(shown)))
        assert await failure(gate, bearer("demo-token")) is None  # needs no database
        await asyncio.sleep(0.1)
        assert len(ended) == 1
        assert gate.directory.counters.unverified == 1
        assert [entry for entry in logs if entry["event"] == "sessions_unverified"]
        if how == "fails":
            source.fault = None
            await until(lambda: not gate.directory.stale)
            assert await let_in(gate, token) == ana
    await gate.stop()


async def test_with_0_they_go_on_without_end(access: Access) -> None:
    gate = access.make_gate()
    token = await access.token("ana")
    await gate.refresh()
    await let_in(gate, token)
    gate.directory.max_stale_s = 0
    access.clock.now += 1_000_000
    assert await failure(gate, bearer(token)) is None
    assert gate.directory.give_up_stale() is None


async def test_a_listener_that_fails_keeps_no_other_from_its_call(access: Access) -> None:
    gate = access.make_gate(refresh_s=0.01)

    def fails(gone: Gone) -> None:
        raise RuntimeError("a mistake")

    ended: list[Gone] = []
    gate.following.on_unverified.extend([fails, ended.append])
    await let_in(gate, await access.token("ana"))
    await gate.start()
    Source(gate).fault = ConnectionError("no route")
    with capture_logs():
        access.clock.now += gate.directory.max_stale_s + 1
        await until(lambda: ended)
    await gate.stop()


async def test_a_token_removed_while_the_database_was_away_is_refused_after(access: Access) -> None:
    gate = access.make_gate()
    token = await access.token("ana")
    await gate.refresh()
    await let_in(gate, token)
    access.clock.now += gate.directory.max_stale_s + 1
    assert gate.directory.give_up_stale() is not None
    await access.store.remove_token("ana")
    await gate.refresh()
    assert await failure(gate, bearer(token)) is Failure.BAD_TOKEN
