"""Checks that no row of the audit log was changed, and that none is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hub.audit import store
from hub.audit.chain import START, Ends, hash_of
from hub.audit.log import AuditLog, target_of
from hub.audit.models import HUB_WIDE, Event, Row
from hub.storage.transactions import Transaction, Transactions

PAGE: Final = 1_000
"""Rows that are read at once."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as the hub wrote it."""

    tenant: str
    number: int
    """The row; 0: the chain as a whole."""
    what: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The chain of a tenant, as far as it was checked."""

    tenant: str
    first: int
    number: int
    """The newest row that was there when the check began."""
    hash: str
    """Its hash. Whoever keeps it elsewhere can show later that nothing up to here was rewritten: ``Expected``."""
    rows: int
    problems: list[Problem]


Expected = Mapping[tuple[str, int], str]
"""Hashes that were kept elsewhere, by tenant and number."""

MAX_PROBLEMS: Final = 100
"""Of one tenant; the check of that chain ends then."""


class Verifier:
    """Checks the chains of a log."""

    __slots__ = ("_audit", "_expected", "_page", "_transactions")

    def __init__(self, transactions: Transactions, audit: AuditLog, expected: Expected | None = None, *, page: int = PAGE) -> None:
        self._audit = audit
        self._expected = expected or {}
        self._page = page
        self._transactions = transactions

    async def check(
        self, tenants: Sequence[str] | None = None, report: Callable[[str, int], object] = lambda _, __: None
    ) -> AsyncIterator[Checked]:
        """Check the chains of some tenants, or of all; a hub may write and remove rows meanwhile. ``report`` is called with the tenant
        and the number of rows that were looked at.

        Raises:
            StorageError: the database cannot be read.
        """
        begun: dict[str, int] = {}
        if tenants is not None:
            for tenant in tenants:
                yield await self._check(tenant, report, begun)
            return
        # first those that are there: each of them has begun before the log of the hub is read
        there = set(await self._transactions.read(store.tenants))
        expected = {tenant for tenant, _ in self._expected}
        hub: Checked | None = None
        if there or HUB_WIDE in expected:
            hub = await self._check(HUB_WIDE, report, begun)
            yield hub
        for tenant in sorted((there | expected | set(begun)) - {HUB_WIDE}):
            checked = await self._check(tenant, report, {})
            if begun.get(tenant, 0) > 1:
                again = f"the log of the hub tells {begun[tenant]} times that this log begins: an earlier one was removed"
                checked.problems.append(Problem(tenant, 0, again))
            elif hub is not None and hub.first <= 1 and not hub.problems and checked.number and tenant not in begun:
                checked.problems.append(
                    Problem(tenant, 0, "the log of the hub does not tell that this log begins: it was removed, or is older")
                )
            yield checked

    async def _check(self, tenant: str, report: Callable[[str, int], object], begun: dict[str, int]) -> Checked:
        """Check the chain of one tenant. ``begun`` is filled with what its rows tell of the beginnings of other logs."""
        problems: list[Problem] = []

        def found(number: int, what: str) -> None:
            problems.append(Problem(tenant, number, what))

        read = await self._transactions.read(lambda tx: store.sealed_ends(tx, tenant))
        if read is None:
            found(0, "the row of audit_chains that says where the log begins and ends is missing")
            for of, number in self._expected:
                if of == tenant:
                    found(number, "expected this row, got no log")
            return Checked(tenant, 0, 0, START, 0, problems)
        until, seal = read
        if not self._audit.is_sealed(until, seal):
            found(0, "where the log begins and ends was changed, or was sealed under another HUB_SECRET; hub audit seal makes it good")
        walk = _Walk(until.first, until.anchor)
        rows = 0
        while walk.next <= until.number and len(problems) < MAX_PROBLEMS:
            now, page = await self._transactions.read(lambda tx: self._read(tx, tenant, walk.next))
            if now is None:
                found(0, "the row of audit_chains was removed meanwhile")
                break
            if now.first > walk.next:  # rows were removed meanwhile, since their time is over
                walk.next, walk.previous = now.first, now.anchor
            if not page:
                found(walk.next, f"the rows from here to {until.number} are missing")
                break
            for row in page:
                if row.number > until.number:
                    break
                walk.step(row, found)
                if row.event == Event.LOG_BEGUN:
                    name = row.target.removeprefix(target_of(""))
                    begun[name] = begun.get(name, 0) + 1
                expected = self._expected.get((tenant, row.number))
                if expected is not None and expected != row.hash:
                    found(row.number, f"expected the hash {expected}, got {row.hash}")
                rows += 1
            if page[-1].number > until.number and walk.next <= until.number:
                found(walk.next, f"the rows from here to {until.number} are missing")
                break
            report(tenant, rows)
        if not problems and walk.previous != until.hash and walk.next == until.number + 1:
            found(until.number, "its hash is not the one by which the log ends")
        for of, number in self._expected:
            if of == tenant and number > until.number:
                found(number, f"expected this row, got a log that ends with {until.number}")
        return Checked(tenant, until.first, until.number, until.hash, rows, problems)

    def _read(self, tx: Transaction, tenant: str, number: int) -> tuple[Ends | None, list[Row]]:
        ends = store.ends_of(tx, tenant)
        return ends, store.from_number(tx, tenant, number if ends is None else max(number, ends.first), self._page)


class _Walk:
    """The way along a chain."""

    __slots__ = ("next", "previous")

    def __init__(self, first: int, anchor: str) -> None:
        self.next = first
        self.previous = anchor

    def step(self, row: Row, found: Callable[[int, str], None]) -> None:
        """Check the next row."""
        if row.number != self.next:
            missing = f"row {self.next} is" if row.number == self.next + 1 else f"rows {self.next} to {row.number - 1} are"
            found(self.next, f"{missing} missing")
        elif hash_of(self.previous, row) != row.hash:
            found(row.number, "was changed, or the row before it")
        self.next, self.previous = row.number + 1, row.hash
