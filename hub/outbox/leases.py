"""Gives leases of deliveries back to the database, and remembers the keys whose older deliveries wait there, to keep their order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from hub.core.ports import Clock
from hub.outbox import delivery_store
from hub.outbox.delivery_store import Work
from hub.storage.transactions import StorageError, Transaction, Transactions

_log = structlog.get_logger(__name__)


class LeaseReturner:
    """Gives back leases. Knows those that were given back since the dispatcher's last round, and those that are being given back now."""

    __slots__ = ("_clock", "_given_back", "_giving_back", "_owner", "_retry_s", "_spawn", "_stopping", "_transactions")

    def __init__(
        self,
        *,
        owner: str,
        transactions: Transactions,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        retry_s: float,
    ) -> None:
        """``spawn`` runs a coroutine in a task. A transaction that failed is repeated after ``retry_s`` seconds."""
        self._owner = owner
        self._transactions = transactions
        self._clock = clock
        self._spawn = spawn
        self._retry_s = retry_s
        self._stopping = False
        self._giving_back: Counter[tuple[str, str]] = Counter()
        """Endpoints and keys of deliveries whose leases are being given back."""
        self._given_back: set[tuple[str, str]] = set()
        """Endpoints and keys whose leases were given back since the dispatcher's last round."""

    def stop(self) -> None:
        """From now on a transaction that failed is not repeated: the leases run out, or the next start frees them."""
        self._stopping = True

    def is_left(self, endpoint: str, key: str) -> bool:
        """Whether an older delivery of the key was left to the database and may not have been claimed by this process since."""
        return (endpoint, key) in self._giving_back or (endpoint, key) in self._given_back

    def leave(self, work: Work) -> None:
        """The database keeps the order of this delivery's key from now on."""
        self._given_back.add((work.endpoint, work.event.key))

    def round_over(self) -> None:
        """The dispatcher has used or given back all places that it reserved before. Its later transactions see in the database that the
        leases were given back.
        """
        self._given_back.clear()

    def give_back(self, works: Sequence[Work], again_ms: int, done: Callable[[], object]) -> None:
        """Give back the leases of deliveries. They may be claimed again in ``again_ms`` milliseconds. Until that is on disk, no delivery of
        their keys begins; then ``done`` is called.
        """
        for work in works:
            self._giving_back[work.endpoint, work.event.key] += 1
        self._spawn(self._write(works, again_ms, done))

    async def _write(self, works: Sequence[Work], again_ms: int, done: Callable[[], object]) -> None:
        numbers = [work.delivery for work in works]

        def write(tx: Transaction) -> None:
            delivery_store.give_back(tx, numbers, self._owner, self._clock.wall_ms() + again_ms if again_ms else 0)

        try:
            while True:
                try:
                    await asyncio.shield(self._transactions.write(write))
                    break
                except StorageError:
                    _log.exception("leases_not_given_back", again_s=self._retry_s)
                    if self._stopping:
                        return
                    await asyncio.sleep(self._retry_s)
        finally:
            for work in works:
                key = (work.endpoint, work.event.key)
                self._giving_back[key] -= 1
                if not self._giving_back[key]:
                    del self._giving_back[key]
                    self._given_back.add(key)
            done()
