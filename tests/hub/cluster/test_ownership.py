"""Owners of tenants by leases in a real PostgreSQL, on nodes that a test kills and stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from hub.cluster.leased_ownership import LeasedOwnership
from hub.cluster.ownership import FixedOwnership, Owner
from hub.cluster.rendezvous import first, ranked
from hub.cluster.settings import OwnershipSettings
from hub.eventlog.removal import remove_events
from hub.storage import lease
from hub.storage.lease import Fence
from hub.storage.migrations import HUB
from hub.storage.transactions import Transaction, Transactions
from hub.transports.runtime import SystemClock
from tests.hub.storage.backends import EVENTS, Postgres, postgres, running_at
from tests.support.cluster import MemoryCluster, MemoryNode

__all__ = ["postgres"]

TERMS = OwnershipSettings(term_s=60, renew_s=0.2, give_up_s=50, look_s=0.05, rank_s=0.5, find_s=30)
"""A lease ends when a test says so: a busy machine ends none."""

IN_RANK = TERMS.model_copy(update={"rank_s": 60.0})
"""The first node that may own a tenant takes it, and others come a minute later."""


class StoppedClock(SystemClock):
    """A monotonic clock to which a test adds what a process slept, and a time of day that is ahead."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.ahead_s = 0.0

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.ahead_s * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self.slept


class Worker:
    """Keeps what is asked of it."""

    def __init__(self, ownership: LeasedOwnership) -> None:
        self.ownership = ownership
        self.calls: list[tuple[str, str]] = []
        self.open: dict[str, Fence] = {}
        self.busy: set[str] = set()
        self.fault: Exception | None = None
        self.slow: asyncio.Event | None = None
        """Set by a test that lets a cancelled ``open_tenant`` take so long to end."""

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        if self.fault is not None:
            raise self.fault
        self.calls.append(("open", tenant))
        assert self.ownership.fence(tenant) == fence
        assert not self.ownership.serves(tenant)
        if self.slow is not None:
            await self._read_slowly(self.slow, tenant, fence)
        self.open[tenant] = fence

    async def _read_slowly(self, done: asyncio.Event, tenant: str, fence: Fence) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await done.wait()  # such as a thread that reads a snapshot
            self.open[tenant] = fence
            self.calls.append(("opened", tenant))
            raise

    async def close_tenant(self, tenant: str) -> None:
        self.calls.append(("close", tenant))
        assert self.ownership.fence(tenant) == self.open[tenant]
        assert not self.ownership.serves(tenant)

    def is_idle(self, tenant: str) -> bool:
        """See :meth:`hub.cluster.ownership.TenantWorker.is_idle`. A test says so."""
        return tenant not in self.busy

    def drop_tenant(self, tenant: str) -> None:
        self.calls.append(("drop", tenant))
        self.open.pop(tenant, None)


class Member:
    """One node: its ownership, and one worker."""

    def __init__(
        self, node: MemoryNode, transactions: Transactions, claim: Callable[[str, int], int], role: str, terms: OwnershipSettings
    ) -> None:
        self.node = node
        self.clock = StoppedClock()

        async def claimed(tenant: str, epoch: int) -> int:
            return claim(tenant, epoch)

        self.ownership = LeasedOwnership(
            transactions,
            node.nodes,
            self.clock,
            terms,
            me=node.incarnation,
            role=role,
            claim=claimed,
            clock_is_right=lambda: not self.clock.ahead_s,
        )
        self.worker = Worker(self.ownership)
        self.ownership.workers.append(self.worker)
        self.changes: list[Owner | None] = []
        self.ownership.on_changed.append(lambda tenant: self.changes.append(self.ownership.owner(tenant)))


class Party:
    """Nodes with one PostgreSQL."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.cluster = MemoryCluster(0)
        self.epochs: Counter[str] = Counter()
        self._url = url
        self._stack = stack
        self.members: list[Member] = []

    async def add(self, role: str = "all", terms: OwnershipSettings = TERMS) -> Member:
        node = self.cluster.add(role=role)
        transactions = await self._stack.enter_async_context(running_at(self._url))
        member = Member(node, transactions, self._claim, role, terms)
        await member.ownership.start()
        self._stack.push_async_callback(member.ownership.stop)
        self.members.append(member)
        return member

    def _claim(self, tenant: str, epoch: int) -> int:
        self.epochs[tenant] = max(self.epochs[tenant], epoch)
        return self.epochs[tenant]


@pytest.fixture
async def party(postgres: Postgres) -> AsyncIterator[Party]:
    url = postgres.url(await postgres.migrated((*HUB, EVENTS)))
    async with AsyncExitStack() as stack:
        yield Party(url, stack)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_tenant_that_is_asked_for_gets_one_owner_and_all_agree(party: Party) -> None:
    one, two, edge = await party.add(terms=IN_RANK), await party.add(terms=IN_RANK), await party.add("edge")
    owner = await edge.ownership.find("acme")
    assert owner is not None
    assert owner.fence == party.epochs["acme"] == 1
    assert owner.node == first("acme", [one.node.incarnation, two.node.incarnation])
    for member in (one, two):
        member.ownership.want("acme")
        assert await member.ownership.find("acme") == owner
        assert member.ownership.serves("acme") == (member.node.incarnation == owner.node)
    assert edge.worker.calls == []
    assert edge.ownership.epoch("acme") is None


async def test_tenants_spread(party: Party) -> None:
    members = [await party.add(terms=IN_RANK) for _ in range(3)]
    tenants = [f"tenant {number}" for number in range(12)]
    for tenant in tenants:
        members[0].ownership.want(tenant)
    found = {tenant: await members[0].ownership.find(tenant) for tenant in tenants}
    nodes = [member.node.incarnation for member in members]
    assert {tenant: owner and owner.node for tenant, owner in found.items()} == {tenant: first(tenant, nodes) for tenant in tenants}
    assert len({first(tenant, nodes) for tenant in tenants}) == 3


async def test_a_node_that_stops_gives_its_tenants_up_and_then_asks_the_new_owner(party: Party) -> None:
    one = await party.add()
    one.ownership.want("acme")
    assert await one.ownership.find("acme") == Owner(one.node.incarnation, 1)
    two = await party.add()
    released: list[str] = []

    async def tell(tenants: object) -> None:
        released.extend(tenants)  # type: ignore[call-overload]
        two.ownership.look_soon()

    one.ownership.on_released.append(tell)
    await one.ownership.hand_over()
    assert released == ["acme"]
    assert one.worker.calls == [("open", "acme"), ("close", "acme"), ("drop", "acme")]
    assert await one.ownership.find("acme") == Owner(two.node.incarnation, 2)
    assert one.changes == [Owner(one.node.incarnation, 1), None, Owner(two.node.incarnation, 2)]
    assert one.ownership.counters.released == 1
    assert party.epochs["acme"] == 2


async def test_the_tenants_of_a_node_that_died_are_taken_when_their_leases_end(party: Party) -> None:
    one, edge = await party.add(), await party.add("edge")
    assert await edge.ownership.find("acme") == Owner(one.node.incarnation, 1)
    two = await party.add()
    await one.ownership._task.stop()
    own = one.ownership._own["acme"]
    assert own.lease is not None
    await own.lease._task.stop()  # it renews no more
    party.cluster.kill(one.node)
    async with running_at(party._url) as transactions:
        await transactions.write(lambda tx: tx.run("UPDATE leases SET until = clock_timestamp()"))
    await until(lambda: edge.ownership.owner("acme") is not None)
    assert edge.ownership.owner("acme") == Owner(two.node.incarnation, 2)
    assert edge.changes == [Owner(one.node.incarnation, 1), None, Owner(two.node.incarnation, 2)]


async def test_an_owner_that_slept_over_its_lease_is_none_the_moment_it_wakes(party: Party) -> None:
    one = await party.add()
    one.ownership.want("acme")
    await one.ownership.find("acme")
    fence = one.ownership.fence("acme")
    assert fence is not None
    one.clock.slept += TERMS.give_up_s
    assert one.ownership.fence("acme") is None
    assert one.ownership.epoch("acme") is None
    assert not one.ownership.serves("acme")
    assert one.ownership.owner("acme") is None
    # nobody else wants it: it takes the tenant again, under a new fence
    await until(lambda: one.ownership.serves("acme"))
    assert one.ownership.fence("acme") == Fence("stat/acme", fence.number + 1)
    assert one.worker.calls == [("open", "acme"), ("drop", "acme"), ("open", "acme")]
    assert one.ownership.counters.lost == 1


@pytest.mark.parametrize("ahead_s", [3600, -3600])
async def test_leases_go_by_no_time_of_day_and_a_node_without_the_right_one_comes_last(party: Party, ahead_s: float) -> None:
    wrong = await party.add()
    await owned(party, ["acme"])
    right = await party.add()
    wrong.clock.ahead_s = ahead_s
    fence = wrong.ownership.fence("acme")
    async with running_at(party._url) as transactions:

        async def left_s() -> float:
            ((_, held),) = await transactions.read(lambda tx: lease.find_all(tx, None, "stat/"))
            assert held.owner == wrong.node.incarnation
            return held.left_s

        first = await left_s()
        for _ in range(3):  # renewed by the database's clock, and owned as long as by the monotonic one
            await asyncio.sleep(2 * TERMS.renew_s)
            assert 0 < await left_s() <= TERMS.term_s
        assert first <= TERMS.term_s
    assert wrong.ownership.fence("acme") == fence
    assert right.ownership.owner("acme") == Owner(wrong.node.incarnation, 1)
    names = [f"tenant {number}" for number in range(6)]
    await owned(party, names)
    await until(lambda: set(names) <= set(right.ownership.owned))
    assert wrong.ownership.owned == ["acme"]
    # nobody else is there: it takes them all the same
    party.cluster.change(right.node, draining=True)
    await right.ownership.hand_over()
    await until(lambda: set(wrong.ownership.owned) == {"acme", *names})


async def test_an_owner_whose_write_is_refused_stops_at_once(party: Party) -> None:
    one = await party.add()
    one.ownership.want("acme")
    await one.ownership.find("acme")
    fence = one.ownership.fence("acme")
    assert fence is not None
    one.ownership.deposed("acme", Fence("stat/acme", fence.number - 1))
    assert one.ownership.serves("acme"), "a refusal of an earlier fence says nothing"
    one.ownership.deposed("acme", fence)
    assert not one.ownership.serves("acme")
    assert one.worker.calls == [("open", "acme"), ("drop", "acme")]
    assert one.ownership.counters.fenced == 2


async def test_a_tenant_that_is_lost_while_it_is_opened_is_dropped_behind_that(party: Party) -> None:
    one = await party.add()
    one.worker.slow = ended = asyncio.Event()
    one.ownership.want("acme")
    await until(lambda: one.worker.calls == [("open", "acme")])
    fence = one.ownership.fence("acme")
    assert fence is not None
    one.ownership.deposed("acme", fence)
    await asyncio.sleep(0)
    one.worker.slow = None
    await asyncio.sleep(3 * TERMS.look_s)  # it may look meanwhile, and takes nothing yet
    assert one.worker.calls == [("open", "acme")]
    ended.set()
    await until(lambda: one.ownership.serves("acme"))
    assert one.worker.calls == [("open", "acme"), ("opened", "acme"), ("drop", "acme"), ("open", "acme")]
    assert one.worker.open == {"acme": one.ownership.fence("acme")}


async def test_a_tenant_that_cannot_be_opened_is_given_up_and_tried_again(party: Party) -> None:
    one = await party.add()
    one.worker.fault = RuntimeError("the log cannot be read")
    one.ownership.want("acme")
    await until(lambda: one.ownership.counters.failed == 1)
    assert one.ownership.owner("acme") is None
    one.worker.fault = None
    await until(lambda: one.ownership.serves("acme"))


async def test_an_epoch_of_a_database_that_was_restored_from_a_copy_is_passed(party: Party) -> None:
    party.epochs["acme"] = 40
    one = await party.add()
    one.ownership.want("acme")
    assert await one.ownership.find("acme") == Owner(one.node.incarnation, 41)
    assert party.epochs["acme"] == 41


async def test_a_stopped_process_that_holds_a_lock_keeps_nobody_from_looking(party: Party, postgres: Postgres) -> None:
    one, edge = await party.add(), await party.add("edge")
    await edge.ownership.find("acme")
    async with running_at(party._url) as sleeper:
        held = asyncio.Event()
        go_on = asyncio.Event()
        loop = asyncio.get_running_loop()

        def sleep(tx: Transaction) -> None:
            tx.row("SELECT 1 FROM leases WHERE name = 'stat/acme' FOR KEY SHARE")
            loop.call_soon_threadsafe(held.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

        writing = asyncio.ensure_future(sleeper.write(sleep))
        await held.wait()
        two = await party.add()
        await one.ownership.hand_over()
        two.ownership.want("other")
        assert await two.ownership.find("other") == Owner(two.node.incarnation, 1)
        assert two.ownership.owner("acme") is None
        go_on.set()
        await writing
        assert await two.ownership.find("acme") == Owner(two.node.incarnation, 2)


async def owned(party: Party, names: list[str]) -> None:
    """Have all these tenants owned."""
    for name in names:
        party.members[0].ownership.want(name)
    await until(lambda: all(party.members[0].ownership.owner(name) is not None for name in names))


async def test_a_node_that_was_left_without_tenants_is_given_some_one_at_a_time(party: Party) -> None:
    one = await party.add()
    names = [f"tenant {number}" for number in range(9)]
    await owned(party, names)
    two = await party.add()
    busy = names[:3]
    one.worker.busy.update(busy)
    await one.ownership.balance()
    assert len(one.ownership.owned) == 9, "another node has just come: more may happen"
    for given in range(1, 5):
        await one.ownership.balance()
        await until(lambda given=given: len(two.ownership.owned) == given)  # type: ignore[misc]
        assert len(one.ownership.owned) == 9 - given
        await until(lambda: all(one.ownership.owner(name) is not None for name in names))
    for member in (one, two):
        await member.ownership.balance()
        await member.ownership.balance()
    assert (len(one.ownership.owned), len(two.ownership.owned)) == (5, 4)
    assert set(busy) <= set(one.ownership.owned), "what somebody watches stays where it is"
    assert one.ownership.counters.handed_over == 4


async def test_nothing_is_handed_over_by_a_node_that_stops_or_has_nothing_idle(party: Party) -> None:
    one = await party.add()
    names = ["a", "b", "c"]
    await owned(party, names)
    await party.add()
    one.worker.busy.update(names)
    for _ in range(3):
        await one.ownership.balance()
    assert sorted(one.ownership.owned) == names
    one.worker.busy.clear()
    one.ownership._candidate = False  # as in hand_over
    await one.ownership.balance()
    assert sorted(one.ownership.owned) == names


async def test_a_tenant_is_handed_over_to_the_node_that_asks_for_it(party: Party) -> None:
    one = await party.add()
    await owned(party, ["acme"])
    two, three = await party.add(), await party.add()

    async def ask(node: str, tenant: str) -> None:
        assert node == one.node.incarnation
        await one.ownership.yield_to(tenant)

    two.ownership.on_wanted = ask
    await until(lambda: two.ownership.owner("acme") is not None)
    two.ownership.want_first("acme")
    await two.ownership.ask_for("acme")
    await until(lambda: two.ownership.serves("acme"))
    assert one.worker.calls == [("open", "acme"), ("close", "acme"), ("drop", "acme")]
    await two.ownership.ask_for("acme")  # it has it
    await until(lambda: one.ownership.owner("acme") == three.ownership.owner("acme") == Owner(two.node.incarnation, 2))


async def test_a_tenant_that_nobody_takes_comes_back(party: Party) -> None:
    one = await party.add()
    await owned(party, ["acme"])
    await one.ownership.yield_to("acme")
    await until(lambda: one.ownership.serves("acme"))
    await one.ownership.yield_to("not its own")
    assert one.ownership.counters.handed_over == 1


async def test_a_tenant_that_was_removed_is_forgotten_and_may_come_again(party: Party) -> None:
    one, edge = await party.add(), await party.add("edge")
    owner = await edge.ownership.find("acme")
    assert owner is not None
    async with running_at(party._url) as transactions:
        await transactions.write(lambda tx: remove_events(tx, "acme"))
        await until(lambda: one.ownership.owned == [] and edge.ownership.owner("acme") is None)
        assert one.worker.calls == [("open", "acme"), ("drop", "acme")]
        assert await transactions.read(lambda tx: tx.rows("SELECT name FROM leases", ())) == []
    # another one of its name: nobody who owned the first one can write or be heard
    again = await edge.ownership.find("acme")
    assert again is not None
    assert again.fence > owner.fence
    assert party.epochs["acme"] == again.fence


async def test_without_leases_the_first_worker_of_the_machine_owns_everything() -> None:
    cluster = MemoryCluster(0, machine="here")
    zero = cluster.add(worker=0)
    one = cluster.add(worker=1)
    cluster.add(worker=0, machine="elsewhere")
    owner = FixedOwnership(zero.nodes, me=zero.incarnation, is_owner=True)
    edge = FixedOwnership(one.nodes, me=one.incarnation, is_owner=False, find_s=10)
    changes: list[str] = []
    edge.on_changed.append(changes.append)
    edge.want("acme")
    assert owner.owner("acme") == edge.owner("acme") == Owner(zero.incarnation, 0)
    assert owner.serves("acme")
    assert owner.epoch("acme") == 0
    assert edge.epoch("acme") is None
    cluster.kill(zero)
    assert edge.owner("acme") is None
    found = asyncio.ensure_future(edge.find("acme"))
    again = cluster.add(worker=0)
    assert await found == Owner(again.incarnation, 0)
    assert changes == ["acme", "acme"]


def test_a_node_that_goes_moves_its_own_tenants_alone() -> None:
    nodes = [f"{number:012x}" for number in range(5)]
    for number in range(50):
        order = ranked(f"t{number}", nodes)
        assert sorted(order) == nodes
        assert first(f"t{number}", nodes) == order[0]
        for gone in nodes:
            assert ranked(f"t{number}", [node for node in nodes if node != gone]) == [node for node in order if node != gone]
    assert first("t", []) is None


def test_an_owner_must_stop_before_its_lease_ends() -> None:
    with pytest.raises(ValueError, match="renew_s < give_up_s < term_s, got 3, 10 and 10"):
        OwnershipSettings(give_up_s=10)
