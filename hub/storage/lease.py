"""Leases in PostgreSQL. One process at a time owns a lease, and each change of the owner raises a number, the fence.

An owner shows its fence in each statement that writes (:class:`hub.eventlog.postgresql.PostgresEventLog`). If its lease has ended without
its notice and another process owns it now, the write is refused. Times are those of the database's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.storage.interface import StorageError, Transaction
from hub.storage.transactions import Transactions

_log = structlog.get_logger(__name__)

OWNERS: Final = "stat/"
"""Begins the names of the leases of tenants' owners; the tenant follows."""

_UNTIL: Final = "clock_timestamp() + make_interval(secs => ?::double precision)"


class Fence(NamedTuple):
    """The proof of ownership that the owner of a lease shows when it writes."""

    lease: str
    """The name of the lease."""
    number: int
    """A number that rises with each change of the owner."""


class Held(NamedTuple):
    """The state of a lease, as any process may read it."""

    owner: str
    fence: Fence
    left_s: float
    """Seconds until the lease ends; 0 or less if it has ended."""


def find(transaction: Transaction, name: str) -> Held | None:
    """Read who owns a lease, or owned it last; None if nobody ever owned it."""
    row = transaction.row(
        "SELECT owner, fence, extract(epoch FROM until - clock_timestamp())::double precision FROM leases WHERE name = ?", (name,)
    )
    return None if row is None else Held(row[0], Fence(name, row[1]), row[2])


def find_all(transaction: Transaction, names: Sequence[str] | None, prefix: str) -> list[tuple[str, Held]]:
    """Read several leases at once: those of these names, or all whose names begin with ``prefix`` if ``names`` is None."""
    columns = "SELECT name, owner, fence, extract(epoch FROM until - clock_timestamp())::double precision FROM leases WHERE"
    if names is None:
        rows = transaction.rows(f"{columns} starts_with(name, ?)", (prefix,))
    else:
        rows = transaction.rows(f"{columns} name = ANY(?)", (list(names),))
    return [(name, Held(owner, Fence(name, number), left_s)) for name, owner, number, left_s in rows]


def announce(transaction: Transaction, names: Sequence[str]) -> None:
    """Make leases that nobody owns yet, so that the processes which may own them see that they are wanted. Those that exist stay."""
    transaction.run(
        "INSERT INTO leases (name, owner, fence, until) SELECT name, '', 0, to_timestamp(0) FROM unnest(?::text[]) AS name"
        " ON CONFLICT (name) DO NOTHING",
        (list(names),),
    )


def raise_fence(transaction: Transaction, fence: Fence, least: int) -> Fence | None:
    """Give a lease that this process owns a fence of ``least`` or more; None if another process has taken it."""
    row = transaction.row(
        "UPDATE leases SET fence = greatest(fence + 1, ?::bigint) WHERE name = ? AND fence = ? RETURNING fence", (least, *fence)
    )
    return None if row is None else Fence(fence.lease, row[0])


def take(transaction: Transaction, name: str, owner: str, term_s: float, *, fresh: bool = False, patient: bool = True) -> Fence | None:
    """Take a lease for ``term_s`` seconds from now; None while another process owns it. A process that owns it, or was its last owner,
    keeps its fence, unless the fence must be ``fresh``. If transactions with fenced writes of the last owner have not ended, it waits for
    them, or returns None if it is not ``patient``.
    """
    row = transaction.row(
        f"INSERT INTO leases (name, owner, fence, until) VALUES (?, ?, 1, {_UNTIL}) ON CONFLICT (name) DO NOTHING RETURNING fence",  # noqa: S608
        (name, owner, term_s),
    )
    if row is not None:
        return Fence(name, row[0])
    found = find(transaction, name)  # without a lock: the owner's fenced writes must not wait for it
    if found is None or (found.owner != owner and found.left_s > 0):
        return None
    how = "" if patient else " SKIP LOCKED"
    row = transaction.row(f"SELECT owner, fence, until > clock_timestamp() FROM leases WHERE name = ? FOR UPDATE{how}", (name,))  # noqa: S608
    if row is None or (row[0] != owner and row[2]):
        return None
    number = row[1] + (fresh or row[0] != owner)
    transaction.run(f"UPDATE leases SET owner = ?, fence = ?, until = {_UNTIL} WHERE name = ?", (owner, number, term_s, name))  # noqa: S608
    return Fence(name, number)


def renew(transaction: Transaction, fence: Fence, term_s: float) -> bool:
    """Extend a lease to ``term_s`` seconds from now; False if another process has taken it. It does not wait for fenced writes."""
    return bool(
        transaction.run(f"UPDATE leases SET until = {_UNTIL} WHERE name = ? AND fence = ?", (term_s, *fence))  # noqa: S608
    )


def release(transaction: Transaction, fence: Fence) -> None:
    """End a lease now, so that the next owner need not wait. If another process has taken it, nothing happens."""
    transaction.run("UPDATE leases SET until = clock_timestamp() WHERE name = ? AND fence = ?", tuple(fence))


class Lease:
    """A lease that this process tries to own. Every ``renew_s`` seconds the owner renews it for ``term_s`` seconds. If the owner cannot
    renew it for ``give_up_s`` seconds of its own clock, it gives the lease up, before the lease ends and another process takes it.
    """

    __slots__ = ("_clock", "_fence", "_give_up_s", "_name", "_on_lost", "_owner", "_renew_s", "_task", "_term_s", "_transactions", "_until")

    def __init__(
        self,
        transactions: Transactions,
        clock: Clock,
        name: str,
        owner: str,
        *,
        on_lost: Callable[[], object],
        term_s: float = 10.0,
        renew_s: float = 3.0,
        give_up_s: float = 7.0,
    ) -> None:
        """``owner`` is a name of this process that no other process has or had. ``on_lost`` is called on the event loop when this process
        gives the lease up, or finds that another process has taken it.
        """
        self._transactions = transactions
        self._clock = clock
        self._name = name
        self._owner = owner
        self._on_lost = on_lost
        self._term_s = term_s
        self._renew_s = renew_s
        self._give_up_s = give_up_s
        self._fence: Fence | None = None
        self._until = 0.0
        self._task = BackgroundTask("hub.storage.lease")

    @property
    def fence(self) -> Fence | None:
        """The fence to show when writing; None while this process does not own the lease, as far as it knows."""
        return self._fence if self._clock.monotonic() < self._until else None

    async def acquire(self, *, fresh: bool = False, least: int = 0) -> Fence | None:
        """Take the lease and keep renewing it; None while another process owns it. With ``fresh`` the fence is a new one also if this
        process was the last owner: what it wrote under the old one, and what still waits to be written, is refused; and it does not wait
        for writes of the last owner, which may be a process that stands still. A fence below ``least`` is raised to it.

        Raises:
            StorageError: the database cannot be written.
        """
        if self.fence is not None:
            return self._fence
        await self._task.stop()
        asked = self._clock.monotonic()

        def take_it(tx: Transaction) -> Fence | None:
            fence = take(tx, self._name, self._owner, self._term_s, fresh=fresh, patient=not fresh)
            return fence if fence is None or fence.number >= least else raise_fence(tx, fence, least)

        fence = await self._transactions.write(take_it)
        self._fence = fence
        if fence is None:
            return None
        self._until = asked + self._give_up_s  # counted from before the question, since the answer may have taken long
        self._task.start(self._keep(fence))
        return self.fence

    async def release(self) -> None:
        """Give the lease up at once, so that another process can take it; ``on_lost`` is not called.

        Raises:
            StorageError: the database cannot be written. The lease ends by itself later.
        """
        await self._task.stop()
        fence, self._fence = self._fence, None
        if fence is not None:
            await self._transactions.write(lambda tx: release(tx, fence))

    def forget(self) -> None:
        """Know at once that another process has taken the lease, because a write was refused; ``on_lost`` is not called."""
        self._fence = None
        self._until = 0.0

    async def _keep(self, fence: Fence) -> None:
        due = self._renew_s
        while True:
            await asyncio.sleep(max(0.0, min(due, self._until - self._clock.monotonic())))
            asked = self._clock.monotonic()
            if asked >= self._until:
                break
            try:
                async with asyncio.timeout(self._until - asked):
                    renewed = await self._transactions.write(lambda tx: renew(tx, fence, self._term_s))
            except (StorageError, TimeoutError) as error:
                _log.warning("lease_not_renewed", lease=self._name, error=str(error) or "no answer in time")
                due = self._renew_s / 3
                continue
            if not renewed or self._fence is None:
                break
            self._until = asked + self._give_up_s
            due = self._renew_s
        known = self._fence is None
        self._fence = None
        if not known:
            _log.warning("lease_lost", lease=self._name, fence=fence.number)
            self._on_lost()
