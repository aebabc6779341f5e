"""Endpoints and deliveries as a state machine. Processes, time and administrators act at random, and a plain model says which state is
right.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.outbox import archive_store, delivery_store, endpoint_store
from hub.outbox.delivery_store import Work
from hub.outbox.models import DeliveryState
from hub.outbox.outcome import Failure
from hub.storage.identity import FileIdentity
from hub.storage.transactions import Transaction
from hub.storage.transactions_sqlite import SqliteBackend
from tests.hub.outbox.support import Recording, endpoint, outcome
from tests.hub.storage.backends import Sqlite
from tests.world import ManualClock

START_MS = 1_000_000
LEASE_MS = 10_000
ORDER_MS = 60_000
OWNERS = ("one", "two")
ENDPOINTS = ("ep_1", "ep_2")
KEYS = ("a", "b")

owners, endpoints, keys = st.sampled_from(OWNERS), st.sampled_from(ENDPOINTS), st.sampled_from(KEYS)
PENDING, DELIVERED, DEAD = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.DEAD
ends = st.sampled_from([PENDING, DELIVERED, DELIVERED, DEAD])


@dataclass
class Known:
    """The expected state of one delivery."""

    endpoint: str
    key: str
    made_ms: int
    state: DeliveryState = PENDING
    next_ms: int = 0
    owner: str = ""
    until_ms: int = 0
    attempts: int = 0
    finished_ms: int | None = None

    def held(self, now_ms: int) -> bool:
        """Whether a process has a lease for it."""
        return bool(self.owner) and self.until_ms > now_ms


class DeliveryMachine(RuleBasedStateMachine):
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        url = asyncio.run(Sqlite(self.folder).migrated())
        self.file = FileIdentity(Path(url.partition(":///")[2]))
        backend = SqliteBackend(self.file, exclusive=False)
        self.connection = backend.connect()
        self.tx = Transaction(self.connection, backend.skip_locked, [])
        self.tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 0)")
        self.recording = Recording(ManualClock())
        self.now_ms = START_MS
        self.known: dict[int, Known] = {}
        self.claimed: list[tuple[str, Work]] = []
        self.there: set[str] = set()

    @initialize()
    def begin(self) -> None:
        for name in ENDPOINTS:
            self.save(name)

    # -- administrators -------------------------------------------------------------------------------------------------

    @rule(name=endpoints)
    def save(self, name: str) -> None:
        endpoint_store.save(self.tx, endpoint(name))
        self.there.add(name)

    @rule(name=endpoints)
    def disable(self, name: str) -> None:
        assert endpoint_store.disable(self.tx, name, "tests") in {True, False}

    @precondition(lambda self: len(self.there) > 1)
    @rule(name=endpoints)
    def remove(self, name: str) -> None:
        """Remove an endpoint. Its waiting deliveries are cancelled with a reason; finished deliveries stay."""
        endpoint_store.remove(self.tx, name, self.now_ms)
        self.there.discard(name)
        for each in self.known.values():
            if each.endpoint == name and each.state is PENDING:
                each.state, each.finished_ms = DEAD, self.now_ms

    @precondition(lambda self: self.known)
    @rule(index=st.integers(0, 100))
    def replay(self, index: int) -> None:
        identifier = sorted(self.known)[index % len(self.known)]
        each = self.known[identifier]
        row = archive_store.replay(self.tx, "acme", identifier, self.now_ms)
        assert row is not None
        assert row[:2] == (each.endpoint, each.state)
        if each.state is not PENDING and each.endpoint in self.there:
            each.state, each.next_ms, each.owner, each.until_ms, each.finished_ms = PENDING, self.now_ms, "", 0, None

    @rule()
    def trim(self) -> None:
        before_ms = self.now_ms - 100_000
        delivery_store.trim(self.tx, delivered_before_ms=before_ms, dead_before_ms=before_ms - 100_000, limit=1_000)
        for identifier, each in list(self.known.items()):
            bound_ms = before_ms if each.state is DELIVERED else before_ms - 100_000
            if each.finished_ms is not None and each.finished_ms < bound_ms:
                del self.known[identifier]

    # -- processes --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.there)
    @rule(key=keys, owner=st.sampled_from(["", *OWNERS]), index=st.integers(0, 1))
    def create(self, key: str, owner: str, index: int) -> None:
        """Create a delivery. It gets a lease only if the owner has the leases of all older deliveries of its key."""
        name = sorted(self.there)[index % len(self.there)]
        event = self.recording.add(key)(self.tx)
        until_ms = self.now_ms + LEASE_MS if owner else 0
        made = delivery_store.create(self.tx, event, name, self.now_ms, owner, until_ms)
        assert made is not None
        assert delivery_store.create(self.tx, event, name, self.now_ms, owner, until_ms) is None, "once for each event"
        older = [each for each in self.known.values() if (each.endpoint, each.key, each.state) == (name, key, PENDING)]
        leased = bool(owner) and all(each.owner == owner for each in older)
        assert made.leased == leased
        self.known[made.delivery] = Known(
            name, key, self.now_ms, next_ms=self.now_ms, owner=owner if leased else "", until_ms=until_ms if leased else 0
        )
        if leased:
            self.claimed.append((owner, Work(made.delivery, name, 0, 0, event, until_ms)))

    @rule(name=endpoints, owner=owners, limit=st.integers(1, 5))
    def claim(self, name: str, owner: str, limit: int) -> None:
        """Claim deliveries that are due and have no lease. One waits for an older delivery of its key, but no longer than the limit."""
        found = delivery_store.claim(
            self.tx, name, owner=owner, now_ms=self.now_ms, lease_until_ms=self.now_ms + LEASE_MS, order_ms=ORDER_MS, limit=limit
        )
        may = {
            identifier
            for identifier, each in self.known.items()
            if each.endpoint == name and each.state is PENDING and each.next_ms <= self.now_ms and each.until_ms <= self.now_ms
            and (each.made_ms <= self.now_ms - ORDER_MS or not self.waits_for(identifier))
        }  # fmt: skip
        got = {work.delivery for work in found.work}
        assert got <= may
        assert len(got) == min(limit, len(may))
        for work in found.work:
            each = self.known[work.delivery]
            assert (work.attempts, work.event.key) == (each.attempts, each.key)
            each.owner, each.until_ms = owner, self.now_ms + LEASE_MS
            self.claimed.append((owner, work))

    def waits_for(self, identifier: int) -> list[int]:
        """Return the older deliveries of the same key and endpoint that are not finished."""
        each = self.known[identifier]
        return [
            other
            for other, older in self.known.items()
            if other < identifier and (older.endpoint, older.key, older.state) == (each.endpoint, each.key, PENDING)
        ]

    @precondition(lambda self: self.claimed)
    @rule(
        index=st.integers(0, 100), end=st.sampled_from([PENDING, DELIVERED, DELIVERED, DEAD]), again_ms=st.sampled_from([0, 5_000, 200_000])
    )
    def record(self, index: int, end: DeliveryState, again_ms: int) -> None:
        """Record an outcome. It counts once, and only while the process still has the lease of the delivery."""
        owner, work = self.claimed.pop(index % len(self.claimed))
        each = self.known.get(work.delivery)
        came = outcome(200 if end is DELIVERED else 500, Failure.NONE, at_ms=self.now_ms, duration_ms=0)
        kept = delivery_store.record(self.tx, work, came, owner=owner, state=end, next_ms=self.now_ms + again_ms, error="")
        assert kept == (each is not None and each.state is PENDING and each.owner == owner)
        if kept and each is not None:
            each.state, each.next_ms, each.owner, each.until_ms = end, self.now_ms + again_ms, "", 0
            each.attempts += 1
            each.finished_ms = None if end is PENDING else self.now_ms

    @precondition(lambda self: self.claimed)
    @rule(index=st.integers(0, 100), later_ms=st.sampled_from([0, 5_000]))
    def give_back(self, index: int, later_ms: int) -> None:
        owner, work = self.claimed.pop(index % len(self.claimed))
        until_ms = self.now_ms + later_ms if later_ms else 0
        delivery_store.give_back(self.tx, [work.delivery], owner, until_ms)
        each = self.known.get(work.delivery)
        if each is not None and each.owner == owner:
            each.owner, each.until_ms = "", until_ms

    @rule()
    def restart(self) -> None:
        """Start a process that uses the database alone: every lease is released."""
        delivery_store.free_own(self.tx)
        for each in self.known.values():
            if each.state is PENDING and each.until_ms > 0:
                each.owner, each.until_ms = "", 0

    @rule(milliseconds=st.sampled_from([1, 999, 9_999, 10_000, 60_000, 250_000]))
    def pass_time(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    # -- what holds always ------------------------------------------------------------------------------------------------

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        columns = "id, endpoint, key, state, attempts, lease_owner, lease_until_ms, finished_ms"
        rows = self.tx.rows(f"SELECT {columns} FROM deliveries ORDER BY id")
        expected = [
            (identifier, each.endpoint, each.key, each.state.value, each.attempts, each.owner, each.until_ms, each.finished_ms)
            for identifier, each in sorted(self.known.items())
        ]
        assert rows == expected

    @invariant()
    def attempts_are_logged_and_events_are_there(self) -> None:
        logged = dict(self.tx.rows("SELECT delivery, count(*) FROM attempts GROUP BY delivery"))  # type: ignore[arg-type]
        assert logged == {identifier: each.attempts for identifier, each in self.known.items() if each.attempts}
        assert self.tx.row("SELECT count(*) FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM outbox_events e WHERE e.id = d.event)") == (
            0,
        )

    def teardown(self) -> None:
        self.connection.close()
        self.file.close()


@pytest.mark.timeout(600)  # on a machine with much else to do
def test_random_lives() -> None:
    with tempfile.TemporaryDirectory() as folder:
        DeliveryMachine.folder = Path(folder)
        run_state_machine_as_test(DeliveryMachine, settings=settings(max_examples=60, stateful_step_count=60, deadline=None, database=None))
