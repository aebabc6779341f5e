"""Nodes of which a test runs one step at a time, for random interleavings of the protocol of owners.

The ownership, the leases, the event log and the scripts of Redis are the product's own, over a real PostgreSQL and a real Redis. Each thing
that a node asks of them stops at a gate before it is done and at another one after it, so that the test decides what happens between the
two: another node's steps, the end of a lease, the death of the node. Only the statistics are made up: they are the set of calls that the
node has counted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from hub.cluster import leased_ownership
from hub.cluster.leased_ownership import LeasedOwnership
from hub.cluster.settings import OwnershipSettings
from hub.core.delivery import DeliveryClass
from hub.eventlog.interface import FencedError
from hub.eventlog.postgresql import PostgresEventLog
from hub.redis.commands import Argument, ServerCommands
from hub.redis.endpoint import UrlEndpoint
from hub.redis.header import Header
from hub.redis.names import Names
from hub.redis.scripts import Scripts
from hub.storage.lease import OWNERS, Fence
from hub.storage.transactions import Transactions
from hub.transports.runtime import SystemClock
from tests.support.cluster import MemoryCluster, MemoryNode

T = TypeVar("T")

STREAM = "calls"
SNAPSHOTS = "totals"
TERMS = OwnershipSettings.model_construct(term_s=3600.0, renew_s=0.0, give_up_s=1800.0, look_s=0.0, rank_s=0.0, find_s=30.0, balance_s=0.0)
"""A lease ends when the test says so. A node renews it, and looks at it, as often as the test lets it: it waits for no time."""
SLEPT_S = 2000.0
"""More than ``give_up_s``, and less than the lease's term: what the clock of a node skips while it sleeps."""


class SleepyClock(SystemClock):
    """A monotonic clock that skips the time in which its node slept."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


class Gates:
    """Where one node waits for the test."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, asyncio.Future[None]]] = []
        """What waits, and for what; the test lets any of them go on."""
        self.free = False
        """Whether nothing waits any more."""
        self.dead = False
        """Whether all waits for ever: a process that was killed does nothing more, not even the end of a ``finally``."""
        self.working = 0
        """Operations that have been let go and are being done."""

    async def at(self, what: str) -> None:
        """Wait until the test lets this go on."""
        if self.free and not self.dead:
            return
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((what, gate))
        await gate

    async def through(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Wait; do something; wait again. What is done between may be the last thing that the node did."""
        await self.at(what)
        self.working += 1
        try:
            return await work()
        finally:
            self.working -= 1
            await self.at(f"{what} done")

    def open(self, index: int) -> str:
        """Let one of those that wait go on; returns what it was."""
        what, gate = self.waiting.pop(index % len(self.waiting))
        if not gate.done():  # else its task was cancelled
            gate.set_result(None)
        return what

    def open_all(self) -> None:
        self.free = True
        while self.waiting:
            self.open(0)


class GatedTransactions:
    """:class:`hub.storage.transactions.Transactions` as one node has them."""

    def __init__(self, transactions: Transactions, gates: Gates) -> None:
        self._transactions = transactions
        self._gates = gates

    async def write(self, work: Callable[[Any], T]) -> T:
        return await self._gates.through("write", lambda: self._transactions.write(work))

    async def read(self, work: Callable[[Any], T]) -> T:
        return await self._gates.through("read", lambda: self._transactions.read(work))


class World:
    """What outlives the nodes, and all that happened: the model with which they are compared."""

    def __init__(self, transactions: Transactions, log: PostgresEventLog, commands: ServerCommands, tenant: str) -> None:
        self.transactions = transactions
        self.log = log
        self.commands = commands
        self.tenant = tenant
        self.names = Names(f"model-{tenant}").of(tenant)
        self.scripts = Scripts()
        self.cluster = MemoryCluster(0)
        self.records: dict[int, tuple[str, int]] = {}
        """The log: the call and the fence of each position that an append has returned."""
        self.acknowledged: set[str] = set()
        self.owners: dict[int, str] = {}
        """Who had each fence."""
        self.published: list[tuple[int, bool]] = []
        """The epoch of each message that Redis accepted, and whether Redis had forgotten the epoch since the one before."""
        self.forgot = False

    async def append(self, call: str, fence: Fence) -> int:
        position = await self.log.append(self.tenant, STREAM, [json.dumps([call, fence.number]).encode()], fence)
        assert position not in self.records
        self.records[position] = (call, fence.number)
        return position

    async def read(self) -> tuple[int, set[str]]:
        """The totals, as an owner loads them: from the snapshot and what came after it."""
        saved = await self.log.load_snapshot(self.tenant, STREAM, SNAPSHOTS)
        position, calls = (0, set()) if saved is None else (saved[0], set(json.loads(saved[1])))
        async for chunk in self.log.read(self.tenant, STREAM, position):
            for at, record in chunk:
                assert at == position + 1, "a position is missing"
                call, _ = json.loads(record)
                assert call not in calls, "a call is counted twice"
                calls.add(call)
                position = at
        return position, calls

    async def claim(self, tenant: str, epoch: int) -> int:
        assert tenant == self.tenant
        return int(await self.commands.run(self.scripts.claim, (self.names.meta,), lambda _: [epoch]))

    async def publish(self, epoch: int, node: str, number: int) -> bool:
        """Publish the totals for all; False if a later owner is known."""
        header = Header("", "/totals", DeliveryClass.STATE, 0, node, number, epoch=epoch).encode()
        begin: list[Argument] = ["run", 1, 0, "0 ", epoch, "PUBLISH", "NUMSUB", number, 0]
        keys: list[bytes] = [self.names.meta, self.names.stream, self.names.last, self.names.idempotency_keys, self.names.batch(node)]
        try:
            await self.commands.run(self.scripts.publish, keys, lambda _: [*begin, 2, 0, "e", 0, header, b"1"])
        except Exception as error:
            if "FENCED" not in str(error):
                raise
            return False
        self.published.append((epoch, self.forgot))
        self.forgot = False
        return True

    async def end_lease(self) -> None:
        """The time of the lease is over."""
        name = OWNERS + self.tenant
        await self.transactions.write(lambda tx: tx.run("UPDATE leases SET until = clock_timestamp() WHERE name = ?", (name,)))

    async def forget_epoch(self) -> None:
        """Redis comes back without what it had."""
        self.forgot = True
        await self.commands.call("DEL", self.names.meta)

    async def clear(self) -> None:
        """No lease is there, of this tenant or of another one."""
        await self.transactions.write(lambda tx: tx.run("DELETE FROM leases", ()))

    def check(self) -> None:
        """What holds at any moment."""
        order = [number for _, number in sorted((position, fence) for position, (_, fence) in self.records.items())]
        assert order == sorted(order), "an owner wrote after a later one"
        calls = [call for call, _ in self.records.values()]
        assert len(calls) == len(set(calls)), "a call is in the log twice"
        assert self.acknowledged <= set(calls), "a call that was acknowledged is not in the log"
        for (before, _), (epoch, forgot) in zip(self.published, self.published[1:], strict=False):
            assert forgot or epoch >= before, "an owner was heard after a later one"


class Node:
    """One process: its ownership, and the totals that it keeps while it is the owner."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gates = Gates()
        self.clock = SleepyClock()
        self.member: MemoryNode = world.cluster.add(role="all")
        self.name = self.member.incarnation
        transactions = GatedTransactions(world.transactions, self.gates)
        self.ownership = LeasedOwnership(
            cast("Transactions", transactions),
            self.member.nodes,
            self.clock,
            TERMS,
            me=self.name,
            role="all",
            claim=self._claim,
        )
        self.ownership.workers.append(self)
        self.ownership.want(world.tenant)
        self._open: Fence | None = None
        self._position = 0
        self._calls: set[str] = set()
        self._under_way: set[str] = set()
        self._sent = 0
        self.work: set[asyncio.Task[None]] = set()
        self.faults: list[BaseException] = []
        self.spawn(self.ownership.start())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.work.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.faults.append(error)

    async def _claim(self, tenant: str, epoch: int) -> int:
        return await self.gates.through("claim", lambda: self.world.claim(tenant, epoch))

    # -- TenantWorker: see hub.cluster.ownership.TenantWorker -----------------------------------------------------------

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        had = self.world.owners.setdefault(fence.number, self.name)
        assert had == self.name, "two nodes have one fence"
        self._position, self._calls = await self.gates.through("load", self.world.read)
        self._open = fence

    async def close_tenant(self, tenant: str) -> None:
        await self.snapshot()

    def is_idle(self, tenant: str) -> bool:
        return True

    def drop_tenant(self, tenant: str) -> None:
        self._open = None
        self._calls = set()
        self._under_way = set()

    # -- what an owner does ---------------------------------------------------------------------------------------------

    @property
    def opened(self) -> bool:
        """Whether it has the totals, and takes itself for the owner."""
        return self._open is not None

    @property
    def serves(self) -> bool:
        return self._open is not None and self.ownership.serves(self.world.tenant)

    def check(self) -> None:
        """The newest owner has counted all that is in the log, each call once, if it is not amid an append."""
        fence = self._open
        if not self.serves or fence is None or self._under_way or fence.number < max(self.world.owners):
            return
        assert self._calls == {call for call, _ in self.world.records.values()}

    async def ingest(self, call: str) -> None:
        """Take a call: append it, count it, publish, acknowledge it. A call that is there already is acknowledged alone."""
        fence = self._open
        if fence is None or call in self._under_way:
            return
        if call not in self._calls:
            self._under_way.add(call)
            try:
                position = await self.gates.through("append", lambda: self.world.append(call, fence))
            except FencedError:
                self.ownership.deposed(self.world.tenant, fence)
                return
            finally:
                self._under_way.discard(call)
            if self._open == fence:
                self._calls.add(call)
                self._position = max(self._position, position)
        self.world.acknowledged.add(call)
        await self.publish()

    async def publish(self) -> None:
        epoch = self.ownership.epoch(self.world.tenant)
        fence = self._open
        if epoch is None or fence is None:
            return
        self._sent += 1
        number = self._sent
        if not await self.gates.through("publish", lambda: self.world.publish(epoch, self.name, number)):
            self.ownership.deposed(self.world.tenant, fence)

    async def snapshot(self) -> None:
        """Save the totals, then forget what they stand for."""
        fence = self._open
        if fence is None or self._under_way:
            return
        position, state = self._position, json.dumps(sorted(self._calls)).encode()
        log, tenant = self.world.log, self.world.tenant
        try:
            await self.gates.through("snapshot", lambda: log.save_snapshot(tenant, STREAM, SNAPSHOTS, position, state, fence))
            await self.gates.through("trim", lambda: log.trim(tenant, STREAM, position, fence))
        except FencedError:
            self.ownership.deposed(tenant, fence)

    # -- what happens to it ---------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let the node run until it waits for the test, or for nothing but time."""
        while True:
            for _ in range(12):
                await asyncio.sleep(0)
            if not self.gates.working:
                break
            await asyncio.sleep(0.0005)
        if self.faults:
            raise self.faults[0]

    def sleep(self) -> None:
        """Its clock skips so much that it has given its lease up, though no other node could take it yet."""
        self.clock.skipped_s += SLEPT_S

    def kill(self) -> None:
        """It does nothing more; what it has asked of a database may be done still."""
        self.gates.dead = True
        self.world.cluster.kill(self.member)

    async def close(self) -> None:
        """End its tasks, at the end of the test. Those of one that was killed are cancelled where they wait."""
        self.gates.dead = False
        self.gates.open_all()
        await self.ownership.stop()
        for task in list(self.work):
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)


@contextmanager
def looking_at_once() -> Iterator[None]:
    """Nodes look again, and try again to open a tenant, as soon as the test lets them."""
    before = leased_ownership.SHORTEST_S, leased_ownership.AGAIN_S
    leased_ownership.SHORTEST_S = leased_ownership.AGAIN_S = 0.0  # type: ignore[misc]
    try:
        yield
    finally:
        leased_ownership.SHORTEST_S, leased_ownership.AGAIN_S = before  # type: ignore[misc]


def commands_of(url: str) -> ServerCommands:
    return ServerCommands(UrlEndpoint(url), timeout_s=60)
