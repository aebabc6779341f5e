"""A flood of sign-ins does not let the audit log grow without bound, and what was left out is counted."""

from __future__ import annotations

import pytest

from hub.audit import shares as module
from hub.audit import store
from hub.audit.log import AuditLog
from hub.audit.models import HUB, HUB_WIDE, Entry, Event, Row
from hub.audit.settings import AuditSettings
from hub.audit.shares import Failure, Shares
from hub.audit.writing import AuditWriter
from hub.security.queries import begin_change
from hub.storage.transactions import StorageError, Transaction
from tests.hub.security.conftest import SECRET, Access

SETTINGS = AuditSettings(failures_per_minute=3, grants_per_minute=2)


class Log:
    """A log with small shares, and what writes it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.shares = Shares(access.clock, SETTINGS)
        self.audit = AuditLog(SECRET, access.clock.wall_ms, self.shares)
        self.writer = AuditWriter(access.transactions, self.audit, self.shares)

    async def issue(self, tenant: str = "acme", event: Event = Event.TOKEN_ISSUED) -> None:
        def write(tx: Transaction) -> None:
            begin_change(tx)
            self.audit.record_within_share(tx, HUB, Entry(event, tenant))

        await self.access.transactions.write(write)

    def fail(self, name: str, tenant: str = "acme", event: Event = Event.SIGN_IN_FAILED) -> None:
        self.audit.note_failure(event, tenant, name, "192.0.2.7")

    async def told(self, tenant: str = "acme") -> list[tuple[str, str, int]]:
        """Of each row the event, who, and how often; without those of the beginnings of tenants and logs."""
        rows: list[Row] = await self.access.transactions.read(lambda tx: store.from_number(tx, tenant, 1, 1000))
        return [(row.event, row.who, row.count) for row in rows if row.event not in ("tenant.added", "log.begun")]


@pytest.fixture
def log(access_both: Access) -> Log:
    return Log(access_both)


async def test_the_same_failure_again_is_one_row_with_a_number(log: Log) -> None:
    for _ in range(50):
        log.fail("ana")
    log.fail("bob", event=Event.SIGN_IN_BRAKED)
    await log.writer.write()
    ana, bob = log.audit.person("acme", "ana"), log.audit.person("acme", "bob")
    assert await log.told() == [("sign_in.failed", ana, 50), ("sign_in.braked", bob, 1)]
    await log.writer.write()
    assert len(await log.told()) == 2


async def test_of_a_flood_each_tenant_gets_its_share_and_a_number(log: Log) -> None:
    for number in range(20):
        log.fail(f"name{number}")
    log.fail("ana", "rival")
    await log.writer.write()
    assert [count for _, _, count in await log.told()] == [1, 1, 1]
    assert len(await log.told("rival")) == 1
    log.access.clock.advance(61)
    log.fail("later")
    await log.writer.write()
    assert [(who, count) for _, who, count in await log.told()][3:] == [(log.audit.person("acme", "later"), 1), ("hub", 17)]
    assert (log.audit.counters.coalesced, len(log.shares)) == (17, 0)


async def test_a_flood_of_tenants_that_do_not_exist_has_one_share(log: Log) -> None:
    for number in range(50):
        log.fail("ana", f"tenant{number}")
    log.fail("ana", "no tenant has this name")
    log.fail("ana")
    await log.writer.write()
    assert len(await log.told(HUB_WIDE)) == 3
    assert len(await log.told()) == 1
    assert await log.access.transactions.read(store.tenants) == ["", "acme", "rival"]


async def test_what_waits_has_a_bound(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NOTED", 5)
    for number in range(100):
        log.fail(f"name{number}", "acme")
    assert len(log.shares) == 6
    await log.writer.write(now=True)
    assert sum(count for _, _, count in [*await log.told(), *await log.told(HUB_WIDE)]) == 100


async def test_tokens_beyond_the_share_are_counted(log: Log) -> None:
    for _ in range(7):
        await log.issue()
    await log.issue("rival")
    assert (len(await log.told()), len(await log.told("rival"))) == (2, 1)
    await log.writer.write()
    assert len(await log.told()) == 2
    log.access.clock.advance(61)
    await log.writer.write()
    assert (await log.told())[2:] == [("token.issued", "hub", 5)]
    await log.issue()
    assert len(await log.told()) == 4


async def test_a_number_is_told_after_a_minute_while_the_log_is_written_each_second(log: Log) -> None:
    for _ in range(7):
        await log.issue()
    for _ in range(61):
        log.access.clock.advance(1)
        await log.writer.write()
    assert (await log.told())[-1] == ("token.issued", "hub", 5)
    assert len(log.shares) == 0


async def test_failures_take_no_place_of_tokens(log: Log) -> None:
    for number in range(20):
        log.fail(f"name{number}")
    await log.writer.write()
    await log.issue()
    assert (await log.told())[-1] == ("token.issued", "hub", 1)


async def test_a_flood_of_tokens_hides_no_end_of_them_and_ends_have_a_share_too(log: Log) -> None:
    for _ in range(5):
        await log.issue()
    for _ in range(5):
        await log.issue(event=Event.TOKEN_REVOKED)
    log.access.clock.advance(61)
    await log.writer.write()
    assert [(event, count) for event, _, count in await log.told()] == [
        *[("token.issued", 1)] * 2,
        *[("token.revoked", 1)] * 2,
        ("token.issued", 3),
        ("token.revoked", 3),
    ]


@pytest.mark.parametrize(
    "typed", ["key:switch", "client:wall", "key:" + "A" * 300, "client:\x1b[2J\x00\ud800", "key:" + "\U0001f600" * 500]
)
async def test_a_name_that_was_only_typed_is_nobody_and_of_any_length(log: Log, typed: str) -> None:
    log.fail(typed)
    log.fail("ana")
    await log.writer.write()
    assert [(event, who.partition(":")[0]) for event, who, _ in await log.told()] == [("sign_in.failed", "person")] * 2
    assert (await log.told())[1][1] == log.audit.person("acme", "ana")


async def test_an_address_and_a_client_of_any_length_fit(log: Log) -> None:
    log.audit.note_failure(Event.SIGN_IN_FAILED, "acme", "ana", "fe80::1%\x00" + "e" * 200, "client" * 100)
    await log.writer.write()
    assert len(await log.told()) == 1


async def test_a_row_that_the_database_refuses_holds_no_other_up(log: Log) -> None:
    """Whatever mistake lets one in: the others are written, and it is told that one was not."""
    log.fail("ana")
    log.shares.note(Failure(Event.SIGN_IN_FAILED, "acme", None, "", ""))  # type: ignore[arg-type]
    log.fail("bob")
    log.shares.count("acme", Event.TOKEN_ISSUED, 5)
    await log.writer.write(now=True)
    people = {log.audit.person("acme", "ana"), log.audit.person("acme", "bob")}
    assert {who for _, who, _ in await log.told()} == {*people, "hub"}
    assert (log.audit.counters.dropped, len(log.shares)) == (1, 0)
    await log.writer.write(now=True)
    assert (log.audit.counters.dropped, len(await log.told())) == (1, 3)


async def test_what_cannot_be_written_waits(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.fail("ana")

    async def refused(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(type(log.access.transactions), "write", refused)
        with pytest.raises(StorageError):
            await log.writer.write()
    assert len(log.shares) == 1
    log.fail("ana")
    await log.writer.stop()
    assert await log.told() == [("sign_in.failed", log.audit.person("acme", "ana"), 2)]
