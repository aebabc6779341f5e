"""Tickets, in memory and shared over real servers: one suite for all."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.redis.names import Names
from hub.redis.shared import SharedRedis
from hub.security.tickets import Opened, Tickets, TicketsUnavailableError, tenant_of
from hub.security.tickets_memory import MemoryTickets
from hub.security.tickets_redis import RedisTickets
from tests.support.cluster import MemoryCluster
from tests.support.redis_server import CLOCKED, KINDS, ClockedCommands, RedisServer
from tests.world import ManualClock

URL = ("/events", b"channel=/a&ticket=t")
ANA = Principal("acme", "ana", frozenset({"agent"}), "l", "l", credential="token:1")
BOB = Principal("other", "bob", frozenset(), "m", "n", credential="token:2")

Make = Callable[..., Tickets]


@pytest.fixture(params=["memory", *KINDS])
async def make(request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Make]:
    """Makes the tickets of a node; those of one test share what they share."""
    if request.param == "memory":
        yield lambda limits=None, node="a": MemoryTickets(clock, limits)
        return
    commands, names = ClockedCommands(shared_redis(request.param).url, clock), Names(secrets.token_hex(8))
    yield lambda limits=None, node="a": RedisTickets(SharedRedis(lambda tenant: commands, names, CLOCKED, node), clock, limits)
    await commands.close()


async def written(tickets: Tickets) -> None:
    """Return when what was said without waiting is written."""
    if isinstance(tickets, RedisTickets) and tickets._tasks:
        await asyncio.wait(tickets._tasks)


async def kept(tickets: Tickets) -> None:
    """Say that the open streams are open, as a node does regularly."""
    if isinstance(tickets, RedisTickets):
        await tickets.keep()


async def subject(tickets: Tickets, ticket: str) -> Principal | None:
    found = await tickets.redeem(ticket, URL)
    return None if found is None else found.principal


class Stream:
    """A stream that a ticket has opened."""

    def __init__(self, tickets: Tickets, opened: Opened) -> None:
        self._tickets = tickets
        self.opened = opened
        self.gave_way = False

    @classmethod
    async def open(cls, tickets: Tickets, ticket: str) -> Stream:
        opened = await tickets.redeem(ticket, URL)
        assert opened is not None
        stream = cls(tickets, opened)
        await tickets.opened(opened, stream.give_way)
        return stream

    def give_way(self) -> None:
        self.gave_way = True

    async def close(self) -> None:
        self._tickets.closed(self.opened)
        await written(self._tickets)


async def issued(tickets: Tickets, principal: Principal = ANA) -> str:
    ticket = await tickets.issue(principal)
    assert ticket is not None
    return ticket


async def test_a_stream_that_has_ended_is_opened_again_for_a_minute(make: Make, clock: ManualClock) -> None:
    made = make()
    ticket = await issued(made)
    for _ in range(3):
        stream = await Stream.open(made, ticket)
        clock.advance(1000)
        await stream.close()
        clock.advance(59)
    clock.advance(1)
    assert await made.redeem(ticket, URL) is None
    assert made.counters.resumed == 2


async def test_the_time_is_a_setting_and_0_opens_nothing_again(make: Make, clock: ManualClock) -> None:
    made = make(Limits(ticket_resume_s=0))
    ticket = await issued(made)
    await (await Stream.open(made, ticket)).close()
    assert await made.redeem(ticket, URL) is None


@pytest.mark.parametrize("url", [("/ws", URL[1]), ("/events", b"channel=/b&ticket=t"), ("/events", b"")])
async def test_only_the_same_stream_is_opened_again(make: Make, clock: ManualClock, url: tuple[str, bytes]) -> None:
    made = make()
    ticket = await issued(made)
    stream = await Stream.open(made, ticket)
    assert await made.redeem(ticket, url) is None
    await stream.close()
    assert await made.redeem(ticket, url) is None
    assert await subject(made, ticket) == ANA


async def test_a_new_stream_takes_the_old_ones_place(make: Make, clock: ManualClock) -> None:
    made = make()
    ticket = await issued(made)
    old = await Stream.open(made, ticket)
    new = await Stream.open(made, ticket)
    assert (old.gave_way, new.gave_way) == (True, False)
    await old.close()  # it hears of its end late: the new one stays
    newest = await Stream.open(made, ticket)
    assert new.gave_way
    await new.close()
    await newest.close()
    assert await subject(made, ticket) == ANA


async def test_no_stream_is_opened_again_after_12_hours(make: Make, clock: ManualClock) -> None:
    made = make()
    ticket = await issued(made)
    stream = await Stream.open(made, ticket)
    clock.advance(12 * 3600 - 1)
    await kept(made)
    assert await subject(made, ticket) == ANA
    clock.advance(1)
    assert await made.redeem(ticket, URL) is None
    await stream.close()
    assert await made.redeem(ticket, URL) is None


async def test_a_ticket_whose_stream_was_refused_opens_nothing_again(make: Make, clock: ManualClock) -> None:
    made = make()
    ticket = await issued(made)
    assert await subject(made, ticket) == ANA
    assert await made.redeem(ticket, URL) is None


@pytest.mark.parametrize("ended", [True, False])
async def test_streams_are_not_opened_again_when_the_credential_is_gone(clock: ManualClock, ended: bool) -> None:
    """Shared tickets are compared with their credential when they are used: see test_gate.py."""
    made = MemoryTickets(clock)
    ticket = await issued(made)
    stream = await Stream.open(made, ticket)
    if ended:
        await stream.close()
    await made.revoke(lambda principal: principal.credential == "token:1")
    assert await made.redeem(ticket, URL) is None
    await stream.close()
    assert await made.redeem(ticket, URL) is None


async def test_of_streams_that_ended_the_newest_are_remembered(make: Make, clock: ManualClock) -> None:
    made = make(Limits(max_tickets=2, tenant_share_percent=100))
    ended = []
    for _ in range(3):
        clock.advance(0.01)
        ended.append(await issued(made))
        await (await Stream.open(made, ended[-1])).close()
    assert made.counters.forgotten == 1
    assert made.resumable == 2
    assert [await subject(made, ticket) == ANA for ticket in ended] == [False, True, True]


async def test_streams_of_one_tenant_do_not_take_the_place_of_anothers(make: Make, clock: ManualClock) -> None:
    made = make(Limits(max_tickets=4))
    other = await made.issue(BOB)
    assert other is not None
    await (await Stream.open(made, other)).close()
    ended = []
    for _ in range(5):
        clock.advance(0.01)
        ended.append(await issued(made))
        await (await Stream.open(made, ended[-1])).close()
    assert made.counters.forgotten == 3
    assert made.resumable == 3 or isinstance(made, RedisTickets)  # which counts what ended on its node
    assert [await made.look(ticket, URL) is None for ticket in ended] == [True, True, True, False, False]
    assert await subject(made, other) == BOB
    clock.advance(60)
    assert await made.issue(BOB) is not None
    assert made.resumable == 0


async def test_tickets_that_wait_have_a_tenants_share(make: Make, clock: ManualClock) -> None:
    made = make(Limits(max_tickets=4))
    assert [await made.issue(ANA) is None for _ in range(3)] == [False, False, True]
    assert [await made.issue(BOB) is None for _ in range(3)] == [False, False, True]
    assert made.counters.refused == 2
    if isinstance(made, MemoryTickets):
        await made.revoke(lambda principal: principal.credential == "token:1")
    else:
        clock.advance(30)
    assert [await made.issue(ANA) is None for _ in range(3)] == [False, False, True]


async def test_a_ticket_is_good_once(make: Make, clock: ManualClock) -> None:
    made = make()
    ticket = await made.issue(ANA)
    assert ticket is not None
    assert await subject(made, ticket) == ANA
    assert await made.redeem(ticket) is None


async def test_a_ticket_is_good_for_30_seconds(make: Make, clock: ManualClock) -> None:
    made = make()
    early, late = await made.issue(ANA), await made.issue(ANA)
    assert early is not None
    assert late is not None
    clock.advance(29.9)
    assert await subject(made, early) == ANA
    clock.advance(0.1)
    assert await made.redeem(late) is None
    assert len(made) == 0


@pytest.mark.parametrize("ticket", ["", "nope", "é\x00"])
async def test_an_unknown_ticket_is_nobodys(make: Make, clock: ManualClock, ticket: str) -> None:
    assert await make().redeem(ticket) is None


async def test_tickets_are_bounded_until_some_run_out(make: Make, clock: ManualClock) -> None:
    made = make(Limits(max_tickets=2, tenant_share_percent=100))
    assert [await made.issue(ANA) is None for _ in range(3)] == [False, False, True]
    clock.advance(30)
    assert await made.issue(ANA) is not None


async def test_tickets_go_with_their_credential(clock: ManualClock) -> None:
    made = MemoryTickets(clock)
    ticket = await made.issue(ANA)
    assert ticket is not None
    await made.revoke(lambda principal: principal.credential == "token:2")
    assert len(made) == 1
    await made.revoke(lambda principal: principal.credential == "token:1")
    assert await made.redeem(ticket) is None


# -- over nodes ------------------------------------------------------------------------------------------------------------


class TwoNodes:
    """Two nodes that share their tickets over a real server; their calls are in the test's hands."""

    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        self.commands = ClockedCommands(server.url, clock)
        names = Names(secrets.token_hex(8))
        self.nodes = [RedisTickets(SharedRedis(lambda tenant: self.commands, names, CLOCKED, node), clock) for node in "ab"]
        self.names = names


@pytest.fixture(params=KINDS)
async def two(request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[TwoNodes]:
    made = TwoNodes(shared_redis(request.param), clock)
    yield made
    for each in made.nodes:
        await each.stop()
    await made.commands.close()


async def test_a_ticket_of_one_node_opens_a_stream_on_another_and_again_on_the_first(two: TwoNodes, clock: ManualClock) -> None:
    a, b = two.nodes
    ticket = await issued(a)
    assert tenant_of(ticket) == "acme"
    await (await Stream.open(b, ticket)).close()
    clock.advance(59)
    stream = await Stream.open(a, ticket)
    assert stream.opened.principal == ANA
    assert (a.counters.resumed, b.counters.resumed) == (1, 0)
    await stream.close()
    clock.advance(60)
    assert await b.redeem(ticket, URL) is None


async def test_of_openings_at_once_one_wins(two: TwoNodes) -> None:
    for _ in range(50):
        ticket = await issued(two.nodes[0])
        opened = await asyncio.gather(*(node.redeem(ticket, URL) for node in two.nodes * 3))
        assert sum(each is not None for each in opened) == 1


async def test_a_stream_whose_place_another_node_took_ends_when_its_node_asks(two: TwoNodes) -> None:
    """Also where the message to its node is lost."""
    a, b = two.nodes
    ticket = await issued(a)
    old = await Stream.open(a, ticket)
    new = await Stream.open(b, ticket)
    await written(b)
    assert (old.gave_way, b.counters.not_told) == (False, 1)
    for node in two.nodes:
        await node.keep()
    assert (old.gave_way, new.gave_way) == (True, False)
    await old.close()
    await new.close()
    assert await subject(a, ticket) == ANA


async def test_a_stream_whose_place_another_node_took_ends_at_once(two: TwoNodes) -> None:
    a, b = two.nodes
    cluster = MemoryCluster(2)
    for node, member in zip(two.nodes, cluster.nodes, strict=True):
        node._redis.node = member.incarnation
        node.connect(member.links)
    ticket = await issued(a)
    old = await Stream.open(a, ticket)
    new = await Stream.open(b, ticket)
    await written(b)
    assert (old.gave_way, new.gave_way, a.counters.replaced_elsewhere) == (True, False, 1)
    newest = await Stream.open(b, ticket)
    assert (new.gave_way, newest.gave_way, b.counters.not_told) == (True, False, 0)
    await cluster.close()


async def test_the_streams_of_a_node_that_died_may_be_opened_again_for_a_while(two: TwoNodes, clock: ManualClock) -> None:
    a, b = two.nodes
    tickets = [await issued(a), await issued(a)]
    for ticket in tickets:
        await Stream.open(a, ticket)
    clock.advance(100)  # it says nothing more
    assert await subject(b, tickets[0]) == ANA
    clock.advance(10)
    assert await subject(b, tickets[1]) is None


async def test_a_redis_that_lost_everything_hears_of_open_streams_again(two: TwoNodes) -> None:
    a, b = two.nodes
    ticket, waiting = await issued(a), await issued(a)
    stream = await Stream.open(a, ticket)
    keys = await two.commands.call("KEYS", f"{two.names.prefix}:*")
    await two.commands.call("DEL", *keys)
    await a.keep()
    assert await subject(b, waiting) is None
    assert await subject(b, ticket) == ANA
    assert not stream.gave_way


async def test_without_redis_nobody_is_let_in_by_a_ticket_and_streams_stay(
    redis_process: Callable[..., RedisServer], clock: ManualClock
) -> None:
    server = redis_process("redis")
    two = TwoNodes(server, clock)
    a, b = two.nodes
    ticket = await issued(a)
    stream = await Stream.open(a, ticket)
    server.kill()
    for attempt in (a.issue(ANA), a.redeem(ticket, URL), b.look(ticket, URL), a.keep()):
        with pytest.raises(TicketsUnavailableError):
            await attempt
    server.start()
    await a.keep()
    assert not stream.gave_way
    assert await subject(b, ticket) == ANA
    await two.commands.close()


async def test_a_text_that_is_no_ticket_is_not_asked_for(two: TwoNodes) -> None:
    for text in ("nope", ".nope", "acme." + "x" * 200, "ac\u00e9.x"):
        assert await two.nodes[0].redeem(text, URL) is None
    assert await two.commands.call("KEYS", f"{two.names.prefix}:*") == []


async def test_streams_of_tenants_that_have_the_same_names_are_apart(two: TwoNodes) -> None:
    a, b = two.nodes
    ticket = await issued(a)
    assert await b.redeem(f"other.{ticket.partition('.')[2]}", URL) is None
    assert await subject(b, ticket) == ANA
