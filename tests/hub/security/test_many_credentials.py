"""Thousands of credentials that are in use at once: what is done with all of them gives way to others."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.security.changes import Change, Changes, Kind
from hub.security.credentials import Credential
from hub.security.directory import SLICE_ITEMS, Directory
from hub.security.roles import Grants
from hub.security.tickets_memory import MemoryTickets
from tests.support.turns import Turns
from tests.world import ManualClock

MANY = 3 * SLICE_ITEMS + 10
PIECES = 3


class Tokens:
    """A look-up of tokens that a test changes, as a database would answer."""

    def __init__(self, expires_ms: int | None = None) -> None:
        self.number = 1
        self.known: list[Change] | None = None
        self.asked: list[int] = []
        self.fails_after: int | None = None
        self.tokens = {f"{n}": self.made(n, "viewer", expires_ms) for n in range(MANY)}

    @staticmethod
    def made(number: int, role: str, expires_ms: int | None = None) -> Credential:
        return Credential(f"token:{number}", "acme", f"s{number}", frozenset({role}), (), f"{number}", expires_ms)

    async def changes(self, after: int | None) -> Changes:
        return Changes(self.number, () if after in (None, self.number) else self.known)

    async def client_origins(self) -> list[tuple[str, str]]:
        return []

    async def ended_sign_ins(self) -> list[tuple[str, int]]:
        return []

    async def by_token(self, digest: str) -> Credential | None:
        return self.tokens.get(digest)

    async def by_key(self, digest: str) -> Credential | None:
        return None

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        return None

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        wanted = list(ids)
        if self.fails_after is not None and len(self.asked) >= self.fails_after:
            raise ConnectionError("no route")
        self.asked.append(len(wanted))
        return {each: found for each in wanted if (found := self.tokens.get(each.removeprefix("token:"))) is not None}

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        return ()


async def in_use(tokens: Tokens, clock: ManualClock) -> Directory:
    """A directory that has let all of them in."""
    directory = Directory(tokens, clock)
    await directory.refresh()
    for digest in tokens.tokens:
        assert await directory.by_token(digest) is not None
    return directory


def who(number: int) -> Principal:
    return Principal("acme", f"s{number}", frozenset(), "l", "l", credential=f"token:{number}")


async def test_after_a_change_some_are_asked_for_at_a_time(clock: ManualClock) -> None:
    tokens = Tokens()
    directory = await in_use(tokens, clock)
    del tokens.tokens["7"]
    tokens.tokens[f"{MANY - 1}"] = tokens.made(MANY - 1, "admin")
    tokens.number += 1
    gone = await directory.refresh()
    assert gone is not None
    assert [number for number in range(MANY) if gone(who(number))] == [7, MANY - 1]
    assert tokens.asked == [SLICE_ITEMS] * PIECES + [10]
    assert await directory.refresh() is None


async def test_what_a_change_concerns_is_looked_for_in_slices_and_asked_for_alone(clock: ManualClock) -> None:
    tokens = Tokens()
    directory = await in_use(tokens, clock)
    del tokens.tokens["7"]
    changes = [Change(Kind.NEW, ""), Change(Kind.TOKEN, "7"), Change(Kind.TOKEN, "8"), Change(Kind.FAMILY, "another")]
    tokens.number, tokens.known = 5, changes
    turns = Turns()
    gone = await directory.refresh()
    assert turns.stop() >= PIECES
    assert gone is not None
    assert [number for number in range(MANY) if gone(who(number))] == [7]
    assert (tokens.asked, directory.counters.reloads) == ([2], 0)
    assert len(directory._found) == MANY - 2  # the others are still known


async def test_for_single_tokens_nobody_else_is_looked_at(clock: ManualClock) -> None:
    tokens = Tokens()
    directory = await in_use(tokens, clock)
    del tokens.tokens["7"]
    tokens.number, tokens.known = 4, [Change(Kind.TOKEN, "7"), Change(Kind.TOKEN, "8"), Change(Kind.TOKEN, "never shown here")]
    turns = Turns()
    gone = await directory.refresh()
    assert turns.stop() < PIECES
    assert gone is not None
    assert [number for number in range(MANY) if gone(who(number))] == [7]
    assert tokens.asked == [2]
    assert len(directory._found) == MANY - 2


async def test_ends_that_will_not_come_are_forgotten_in_slices(clock: ManualClock) -> None:
    tokens = Tokens(clock.wall_ms() + 3_600_000)
    directory = await in_use(tokens, clock)
    for digest in list(tokens.tokens):
        await directory.by_token(digest)
    gone_by = MANY - SLICE_ITEMS // 4
    for number in range(gone_by):
        del tokens.tokens[f"{number}"]
    tokens.number = 2
    await directory.refresh()
    assert len(directory._issued) == MANY - gone_by
    assert sorted(directory._expiries) == sorted((tokens.tokens[each].expires_ms, f"token:{each}") for each in tokens.tokens)
    clock.advance(3600)
    gone = await directory.refresh()
    assert gone is not None
    assert [number for number in range(MANY) if gone(who(number))] == list(range(gone_by, MANY))


async def test_a_database_that_fails_half_way_is_asked_for_all_again(clock: ManualClock) -> None:
    tokens = Tokens()
    directory = await in_use(tokens, clock)
    del tokens.tokens["7"]
    tokens.number, tokens.fails_after = 2, 2
    with pytest.raises(ConnectionError):
        await directory.refresh()
    tokens.fails_after = None
    gone = await directory.refresh()
    assert gone is not None
    assert gone(who(7))


async def test_many_that_run_out_at_once_are_taken_back_in_slices(clock: ManualClock) -> None:
    directory = await in_use(Tokens(clock.wall_ms() + 1000), clock)
    clock.advance(2)
    turns = Turns()
    gone = await directory.refresh()
    assert turns.stop() >= PIECES
    assert gone is not None
    assert all(gone(who(number)) for number in range(MANY))
    assert directory.counters.revoked == MANY


@pytest.mark.parametrize("kind", ["waiting", "ended", "open"])
async def test_tickets_of_credentials_that_are_gone_are_taken_back_in_slices(clock: ManualClock, kind: str) -> None:
    tickets = MemoryTickets(clock, Limits(max_tickets=MANY, tenant_share_percent=100))
    made = []
    for number in range(MANY):
        ticket = await tickets.issue(who(number % 2))
        assert ticket is not None
        made.append(ticket)
        if kind != "waiting":
            stream = await tickets.redeem(ticket)
            assert stream is not None
            await tickets.opened(stream, lambda: None)
            if kind == "ended":
                tickets.closed(stream)
    turns = Turns()
    await tickets.revoke(lambda principal: principal.credential == "token:1")
    assert turns.stop() >= PIECES - 1
    assert [await tickets.look(ticket) is not None for ticket in made] == [number % 2 == 0 for number in range(MANY)]


async def test_a_ticket_that_is_used_while_others_are_taken_back_is_no_fault(clock: ManualClock) -> None:
    tickets = MemoryTickets(clock, Limits(max_tickets=MANY, tenant_share_percent=100))
    made = [ticket for number in range(MANY) if (ticket := await tickets.issue(who(1))) is not None]
    looked = 0

    def gone(principal: Principal) -> bool:
        nonlocal looked
        looked += 1
        if looked == 5:
            assert tickets._take_waiting(made[100]) is not None  # as redeem() takes it, in another task
            assert tickets._take_waiting(made[4]) is not None
        return True

    await tickets.revoke(gone)
    assert (len(made), looked, len(tickets)) == (MANY, MANY, 0)
