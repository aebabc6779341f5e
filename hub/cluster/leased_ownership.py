"""Owners of tenants by leases in PostgreSQL (docs/scaling.md#owners).

A node asks for a tenant by making its lease, which nobody owns then. Each node that may own tenants looks at all leases once a second. If a
lease is free, the candidates take it in the order of a rendezvous hash, each some time after the one before it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import structlog

from hub.background import BackgroundTask
from hub.cluster.balance import surplus
from hub.cluster.ownership import Owner, TenantWorker, wait_for_owner
from hub.cluster.ports import Nodes
from hub.cluster.rendezvous import ranked
from hub.cluster.settings import OwnershipSettings
from hub.core.metric import CounterFamily
from hub.core.ports import Clock
from hub.family import ProcessRole, process_roles
from hub.storage.interface import StorageError
from hub.storage.lease import OWNERS as PREFIX
from hub.storage.lease import Fence, Held, Lease, announce, find_all
from hub.storage.transactions import Transactions

_log = structlog.get_logger(__name__)

SHORTEST_S: Final = 0.02
"""Seconds between two looks at least, also when many ask for one."""

AGAIN_S: Final = 1.0
"""Seconds after which a tenant is tried again that could not be opened."""


@dataclass(slots=True)
class Counters:
    """What the ownership of tenants counts."""

    METRICS: ClassVar = (
        CounterFamily(
            "changes",
            "Tenants that this node began or ceased to own, by how.",
            "how",
            {"taken": "taken", "released": "released", "lost": "lost", "failed": "failed"},
        ),
    )

    taken: int = 0
    """Tenants that this node took."""
    released: int = 0
    """Tenants that this node gave to another one, when it stopped."""
    lost: int = 0
    """Tenants that this node lost, because it could not renew its lease or another node had taken it."""
    failed: int = 0
    """Tenants that this node took and could not open."""
    handed_over: int = 0
    """Tenants that this node gave to another one, which had fewer or had asked for it."""
    fenced: int = 0
    """Writes and messages that were refused, because another node owned the tenant."""


class _Owned:
    """A tenant that this process owns, or is about to."""

    __slots__ = ("fence", "lease", "serving", "task")

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.fence: Fence | None = None
        self.serving = False
        self.task: asyncio.Task[None] | None = None


class LeasedOwnership:
    """The :class:`hub.cluster.ownership.Ownership` of several nodes with one PostgreSQL. It is also a service."""

    def __init__(
        self,
        transactions: Transactions,
        nodes: Nodes,
        clock: Clock,
        settings: OwnershipSettings,
        *,
        me: str,
        role: str,
        claim: Callable[[str, int], Awaitable[int]],
        clock_is_right: Callable[[], bool] = lambda: True,
    ) -> None:
        """``claim`` notes a fence in Redis and returns the highest one that was ever noted. A process with the role ``edge`` takes no
        tenant. One whose time of day is not right takes those alone that nobody else takes.
        """
        self.counters = Counters()
        self.workers: list[TenantWorker] = []
        self.on_changed: list[Callable[[str], object]] = []
        self.on_released: list[Callable[[Sequence[str]], Awaitable[object]]] = []
        """Called with the tenants that this process gave up when it stopped, so that it can tell other nodes to look."""
        self._transactions = transactions
        self._nodes = nodes
        self._clock = clock
        self._settings = settings
        self._me = me
        self._candidate = may_own(role)
        self._claim = claim
        self._clock_is_right = clock_is_right
        self.on_wanted: Callable[[str, str], Awaitable[object]] | None = None
        """Asks a node to hand over a tenant to this one (:meth:`yield_to`)."""
        self._first: set[str] = set()
        # tenants that this process gave to others: until one of them has taken it, this process comes last
        self._yielded: set[str] = set()
        # the nodes that could own tenants when this process last looked whether it has too many
        self._candidates: frozenset[str] = frozenset()
        self._seen: dict[str, Held] = {}
        self._own: dict[str, _Owned] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        """What opens a tenant that was lost meanwhile, until it has ended: no worker may open it after it was told to drop it."""
        self._wanted: set[str] = set()
        self._announced: set[str] = set()
        # monotonic seconds since when a tenant was seen without an owner
        self._free_since: dict[str, float] = {}
        self._told: dict[str, Owner | None] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._failing = False
        self._task = BackgroundTask("hub.cluster.ownership")
        self._balancing = BackgroundTask("hub.cluster.ownership.balance")
        nodes.on_left.append(self._node_left)

    # -- Ownership --------------------------------------------------------------------------------------------------

    def owner(self, tenant: str) -> Owner | None:
        """See :meth:`Ownership.owner`."""
        if self.serves(tenant) and (fence := self.fence(tenant)) is not None:
            return Owner(self._me, fence.number)
        held = self._seen.get(tenant)
        if held is None or held.left_s <= 0 or held.owner == self._me or self._nodes.find(held.owner) is None:
            return None
        return Owner(held.owner, held.fence.number)

    def serves(self, tenant: str) -> bool:
        """See :meth:`Ownership.serves`."""
        own = self._own.get(tenant)
        return own is not None and own.serving and self.fence(tenant) is not None

    def fence(self, tenant: str) -> Fence | None:
        """See :meth:`Ownership.fence`. Also while the workers are opened and closed."""
        own = self._own.get(tenant)
        return own.lease.fence if own is not None and own.lease is not None else None

    def epoch(self, tenant: str) -> int | None:
        """See :meth:`Ownership.epoch`."""
        fence = self.fence(tenant)
        return None if fence is None else fence.number

    def want(self, tenant: str) -> None:
        """See :meth:`Ownership.want`."""
        if tenant not in self._wanted:
            self._wanted.add(tenant)
            self._wake.set()

    async def find(self, tenant: str) -> Owner | None:
        """See :meth:`Ownership.find`."""
        self.want(tenant)
        return await wait_for_owner(self, tenant, self._changed, self._settings.find_s)

    async def refresh(self) -> None:
        """See :meth:`Ownership.refresh`. It waits at most ``look_s`` seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.look_s):
                await waiter

    def deposed(self, tenant: str, fence: Fence | None) -> None:
        """See :meth:`Ownership.deposed`."""
        self.counters.fenced += 1
        own = self._own.get(tenant)
        if own is not None and own.lease is not None and fence is not None and own.fence == fence:
            own.lease.forget()
            self._lose(tenant, own)

    @property
    def owned(self) -> list[str]:
        """The tenants that this process owns and serves."""
        return [tenant for tenant, own in self._own.items() if own.serving]

    def want_first(self, tenant: str) -> None:
        """As :meth:`want`; and this process takes the tenant before all others if it is free: it has something to bring along."""
        self._first.add(tenant)
        self.want(tenant)

    async def ask_for(self, tenant: str) -> None:
        """Ask the owner of a tenant, if another process owns it, to hand it over to this process, which has something to bring along."""
        owner = self.owner(tenant)
        if owner is not None and owner.node != self._me and self.on_wanted is not None:
            await self.on_wanted(owner.node, tenant)

    async def yield_to(self, tenant: str) -> None:
        """Hand over a tenant because another node asks for it, or has fewer. If nobody takes it, this process takes it again."""
        own = self._own.get(tenant)
        if own is None or not own.serving:
            return
        self._first.discard(tenant)
        self._yielded.add(tenant)
        self.counters.handed_over += 1
        _log.info("tenant_handed_over", tenant=tenant)
        await self._release(tenant)
        for call in self.on_released:
            await call([tenant])

    async def balance(self) -> None:
        """Hand over one tenant, if another node has fewer: one that nobody watches. Nothing happens unless the same nodes were there when
        this was called last, since nodes that are restarted one after the other give and take enough.
        """
        now = frozenset(node.incarnation for node in self._nodes.live().values() if may_own(node.role) and not node.draining)
        before, self._candidates = self._candidates, now
        owners = {tenant: owner.node for tenant in self._seen if (owner := self.owner(tenant)) is not None}
        if not self._candidate or now != before or len(owners) < len(self._seen):
            return
        idle = [tenant for tenant in self.owned if all(worker.is_idle(tenant) for worker in self.workers)]
        tenant = surplus(self._me, owners, now, idle)
        if tenant is not None:
            await self.yield_to(tenant)

    def look_soon(self) -> None:
        """Look at the leases now: another node has released some."""
        self._wake.set()

    # -- service ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the tenants that are free and for which this process comes first, and open them; then look once a second.

        Raises:
            StorageError: the database cannot be used.
        """
        await self._look()
        if begun := [own.task for own in self._own.values() if own.task is not None]:
            await asyncio.wait(begun)
        self._task.start(self._look_forever())
        if self._candidate and self._settings.balance_s:
            self._balancing.start(self._balance_forever())

    async def stop(self) -> None:
        """Give every tenant up."""
        await self._balancing.stop()
        await self.hand_over()
        await self._task.stop()
        if self._ending:
            await asyncio.wait(self._ending.values())

    async def hand_over(self) -> None:
        """Save and release every tenant, so that other nodes can take them at once, and take none any more. From now on this process asks
        the new owners, as an edge does.
        """
        self._candidate = False
        tenants = list(self._own)
        await asyncio.gather(*(self._release(tenant) for tenant in tenants))
        if tenants:
            for call in self.on_released:
                await call(tenants)
            self._wake.set()

    async def _release(self, tenant: str) -> None:
        own = self._own.get(tenant)
        if own is None:
            return  # it was lost at this moment
        if own.task is not None:
            await asyncio.wait([own.task])
        if self._own.get(tenant) is not own:
            return  # it could not be opened, or was lost
        own.serving = False
        self._tell(tenant)
        try:
            for worker in reversed(self.workers):
                await worker.close_tenant(tenant)
        except Exception:
            _log.exception("tenant_not_closed", tenant=tenant)  # the next owner takes what the log has
        if self._own.get(tenant) is own:
            del self._own[tenant]
            self._drop(tenant)
            assert own.lease is not None
            try:
                await own.lease.release()
            except StorageError as error:  # it ends by itself
                _log.warning("lease_not_released", tenant=tenant, error=str(error))
            self.counters.released += 1
            if (held := self._seen.get(tenant)) is not None:
                self._seen[tenant] = held._replace(left_s=0.0)

    # -- looking ----------------------------------------------------------------------------------------------------

    async def _look_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            self._wake.clear()
            waiters, self._waiters = self._waiters, []
            try:
                await self._look()
                self._failing = False
            except StorageError as error:
                if not self._failing:
                    _log.warning("owners_not_read", error=str(error))
                self._failing = True
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            await asyncio.sleep(SHORTEST_S)

    async def _balance_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.balance_s)
            await self.balance()

    def _pause_s(self) -> float:
        """Until the next look: when a free tenant is this process's turn, else ``look_s``."""
        pause = self._settings.look_s
        if self._candidate:
            now = self._clock.monotonic()
            for tenant, since in self._free_since.items():
                if tenant not in self._own and tenant not in self._ending:
                    pause = min(pause, max(since + self._rank(tenant) * self._settings.rank_s - now, 0.0))
        return pause

    async def _look(self) -> None:
        new = [tenant for tenant in self._wanted if tenant not in self._announced]
        if new:
            names = [PREFIX + tenant for tenant in new]
            await self._transactions.write(lambda tx: announce(tx, names))
            self._announced.update(new)
        wanted = None if self._candidate else [PREFIX + tenant for tenant in self._wanted]
        if wanted is not None and not wanted:
            return
        rows = await self._transactions.read(lambda tx: find_all(tx, wanted, PREFIX))
        now = self._clock.monotonic()
        found = {name.removeprefix(PREFIX): held for name, held in rows}
        for tenant in (self._announced | self._seen.keys()) - found.keys():
            self._forget(tenant)
        for tenant, held in found.items():
            self._seen[tenant] = held
            if held.left_s > 0 and held.owner != self._me:
                self._yielded.discard(tenant)
            # a lease that this process lost, because it could not renew it, is still its own until another process takes it
            if held.left_s > 0 and held.owner != self._me:
                self._free_since.pop(tenant, None)
            elif self._candidate and tenant not in self._own and tenant not in self._ending:
                since = self._free_since.setdefault(tenant, now)
                if now >= since + self._rank(tenant) * self._settings.rank_s:
                    self._begin(tenant)
            self._tell(tenant)

    def _rank(self, tenant: str) -> int:
        """How many other candidates come before this process. The last owner of a free lease has ended, or gave it up: it is none."""
        if tenant in self._first:
            return 0
        if tenant in self._yielded or not self._clock_is_right():
            return len(self._nodes.live())
        held = self._seen.get(tenant)
        last = None if held is None else held.owner
        others = [
            record.incarnation
            for record in self._nodes.live().values()
            if may_own(record.role) and not record.draining and record.incarnation not in (last, self._me)
        ]
        return ranked(tenant, [*others, self._me]).index(self._me)

    def _forget(self, tenant: str) -> None:
        """The lease is not there any more: the tenant was removed. Whoever asks for it again makes the lease anew."""
        for names in (self._wanted, self._announced, self._first, self._yielded):
            names.discard(tenant)
        self._seen.pop(tenant, None)
        self._free_since.pop(tenant, None)
        own = self._own.get(tenant)
        if own is not None and own.serving and own.lease is not None:
            own.lease.forget()
            self._lose(tenant, own)
        self._tell(tenant)
        self._told.pop(tenant, None)

    def _node_left(self, node: str) -> None:
        for tenant, held in self._seen.items():
            if held.owner == node:
                self._tell(tenant)
        self._wake.set()

    def _tell(self, tenant: str) -> None:
        """Tell of a change of the owner, if there is one."""
        owner = self.owner(tenant)
        if self._told.get(tenant) == owner:
            return
        self._told[tenant] = owner
        self._changed.set()
        for call in self.on_changed:
            call(tenant)

    # -- taking and losing ------------------------------------------------------------------------------------------

    def _begin(self, tenant: str) -> None:
        own = self._own[tenant] = _Owned()
        own.task = asyncio.get_running_loop().create_task(self._take(tenant, own), name="hub.cluster.ownership.take")

    async def _take(self, tenant: str, own: _Owned) -> None:
        try:
            opened = await self._open(tenant, own)
        except StorageError as error:  # it is tried again
            _log.warning("tenant_not_opened", tenant=tenant, error=str(error))
            opened = False
            self.counters.failed += 1
        except Exception:
            _log.exception("tenant_not_opened", tenant=tenant)
            opened = False
            self.counters.failed += 1
        own.task = None
        if self._own.get(tenant) is not own:
            return  # it was lost meanwhile
        if opened:
            own.serving = True
            self.counters.taken += 1
            _log.info("tenant_taken", tenant=tenant, fence=own.fence and own.fence.number)
            self._free_since.pop(tenant, None)
            self._tell(tenant)
            return
        del self._own[tenant]
        self._drop(tenant)
        self._free_since[tenant] = self._clock.monotonic() + AGAIN_S
        if own.lease is not None:
            with contextlib.suppress(StorageError):  # it ends by itself
                await own.lease.release()

    async def _open(self, tenant: str, own: _Owned) -> bool:
        """Take the lease and open the workers; False if another process has the lease."""
        terms = self._settings
        own.lease = lease = Lease(
            self._transactions,
            self._clock,
            PREFIX + tenant,
            self._me,
            on_lost=lambda: self._lose(tenant, own),
            term_s=terms.term_s,
            renew_s=terms.renew_s,
            give_up_s=terms.give_up_s,
        )
        own.fence = await lease.acquire(fresh=True)
        if own.fence is None:
            return False
        noted = await self._claim(tenant, 0)
        if noted >= own.fence.number:
            # a later owner, a database that was restored from a copy, or a tenant that was removed and made again: who owns the lease now
            # decides, and nobody who had its number before is heard any more
            await lease.release()
            own.fence = await lease.acquire(fresh=True, least=noted + 1)
            if own.fence is None:
                return False
        await self._claim(tenant, own.fence.number)
        for worker in self.workers:
            await worker.open_tenant(tenant, own.fence)
        return lease.fence == own.fence

    def _lose(self, tenant: str, own: _Owned) -> None:
        """The lease was lost: stop at once."""
        if self._own.get(tenant) is not own:
            return
        self.counters.lost += 1
        del self._own[tenant]
        own.serving = False
        if own.task is None:
            self._drop(tenant)
        else:
            self._ending[tenant] = own.task
            own.task.add_done_callback(lambda _: self._ended_opening(tenant))
            own.task.cancel()
        held = self._seen.get(tenant)
        if held is not None and held.owner == self._me:
            self._seen[tenant] = held._replace(left_s=0.0)
        self._tell(tenant)
        self._wake.set()

    def _ended_opening(self, tenant: str) -> None:
        del self._ending[tenant]
        self._drop(tenant)
        self._wake.set()

    def _drop(self, tenant: str) -> None:
        for worker in reversed(self.workers):
            try:
                worker.drop_tenant(tenant)
            except Exception:
                _log.exception("tenant_not_dropped", tenant=tenant)


def may_own(role: str) -> bool:
    """Whether a node with this ``role`` may own tenants."""
    return ProcessRole.STAT_SERVER in process_roles(role)
