"""The audit log on both databases: one transaction with what it tells of, nobody changes it, and the chain shows what is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hub.audit import store
from hub.audit.chain import hash_of
from hub.audit.log import AuditLog
from hub.audit.models import HUB, Entry, Event, Row
from hub.audit.retention import AuditRetention
from hub.audit.settings import AuditSettings
from hub.audit.verify import Problem, Verifier
from hub.core.principal import Action
from hub.security.models import AdminError
from hub.security.queries import begin_change
from hub.security.roles import Grant
from hub.storage.transactions import Transaction
from tests.hub.security.conftest import SECRET, Access

GRANT = Grant(Action.SUBSCRIBE, ("/a/**",))
DAY_S = 86_400


async def rows(access: Access, tenant: str = "acme") -> list[Row]:
    """The rows of a tenant, the oldest first."""
    return await access.transactions.read(lambda tx: store.from_number(tx, tenant, 1, 1000))


async def problems(access: Access, **more: Any) -> list[Problem]:
    verifier = Verifier(access.transactions, access.audit, page=2, **more)
    return [problem async for checked in verifier.check() for problem in checked.problems]


async def add(access: Access, number: int, tenant: str = "acme") -> None:
    """Add rows about nothing."""
    for _ in range(number):
        await access.transactions.write(lambda tx: access.audit.record(tx, HUB, Entry(Event.SIGN_IN, tenant)))


async def tamper(access: Access, *statements: str | Callable[[Transaction], object]) -> None:
    """Change the log as only who may change tables can."""

    def write(tx: Transaction) -> None:
        if tx.for_update:
            tx.run("ALTER TABLE audit DISABLE TRIGGER USER")
            tx.run("ALTER TABLE audit_chains DISABLE TRIGGER USER")
        else:
            for trigger in ("audit_is_kept", "audit_loses_none", "audit_chains_go_on", "audit_chains_are_kept"):
                tx.run(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            tx.run(statement) if isinstance(statement, str) else statement(tx)
        if tx.for_update:
            tx.run("ALTER TABLE audit ENABLE TRIGGER USER")
            tx.run("ALTER TABLE audit_chains ENABLE TRIGGER USER")

    await access.transactions.write(write)


async def test_every_change_of_an_administrator_is_told(access_both: Access) -> None:
    both = access_both.store
    await both.add_role("acme", "wall", [GRANT])
    await both.add_user("acme", "ana", "long enough", ["wall"])
    await both.change_user("acme", "ana", roles=["admin"])
    await both.change_user("acme", "ana", password="another one")
    await both.add_key("acme", "switch", ["producer"])
    token, _ = await both.add_token("acme", "ana")
    await both.remove_token(token.id)
    await both.remove_key("acme", "switch")
    await both.remove_user("acme", "ana")
    await both.remove_role("acme", "wall")
    ana = access_both.audit.person("acme", "ana")
    told = [(row.event, row.target, row.before, row.after) for row in await rows(access_both)]
    of_token = json.dumps({"expires_ms": None, "roles": None, "subject": ana}, separators=(",", ":"))
    grants = '{"grants":[{"action":"subscribe","within":["/a/**"],"without":[]}]}'
    assert told == [
        ("tenant.added", "", None, None),
        ("role.added", "role:wall", None, grants),
        ("user.added", ana, None, '{"disabled":false,"roles":["wall"]}'),
        ("user.changed", ana, '{"roles":["wall"]}', '{"roles":["admin"]}'),
        ("password.changed", ana, None, None),
        ("key.added", "key:switch", None, '{"roles":["producer"]}'),
        ("token.added", f"token:{token.id}", None, of_token),
        ("token.removed", f"token:{token.id}", of_token, None),
        ("key.removed", "key:switch", '{"roles":["producer"]}', None),
        ("user.removed", ana, '{"disabled":false,"roles":["admin"]}', None),
        ("role.removed", "role:wall", json.dumps(json.loads(grants), separators=(",", ":"), sort_keys=True), None),
    ]
    assert {row.who for row in await rows(access_both)} == {"hub"}
    assert await problems(access_both) == []


async def test_of_a_change_that_is_refused_there_is_no_row(access_both: Access) -> None:
    before = await rows(access_both)
    for refused in (
        access_both.store.add_key("acme", "switch", ["boss"]),
        access_both.store.remove_user("acme", "nobody"),
        access_both.store.add_user("acme", "ana", "long enough", []),
    ):
        with pytest.raises(AdminError):
            await refused
    assert await rows(access_both) == before


async def test_a_change_whose_row_cannot_be_written_is_not_made(access_both: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("no row today")

    monkeypatch.setattr(store, "insert", refused)
    with pytest.raises(RuntimeError, match="no row today"):
        await access_both.store.add_key("acme", "switch", ["producer"])
    assert await access_both.store.keys() == []


async def is_sqlite(access: Access) -> bool:
    return await access.transactions.read(lambda tx: not tx.for_update)


async def test_a_person_has_one_pseudonym_in_a_tenant_that_nobody_finds_without_the_secret() -> None:
    log, other = AuditLog(SECRET, lambda: 0), AuditLog(b"another secret", lambda: 0)
    assert log.person("acme", "ana") == log.person("acme", "ana")
    names = [log.person("acme", "ana"), log.person("rival", "ana"), log.person("acme", "bob"), other.person("acme", "ana")]
    assert len(set(names)) == 4
    assert all(name.startswith("person:") and "ana" not in name for name in names)
    assert log.person("acme", "key:switch") == "key:switch"
    assert log.operator("root").who.startswith("command-line:")


async def test_no_row_holds_a_name_or_a_secret(access_both: Access) -> None:
    await access_both.store.add_user("acme", "Ana Álvarez", "correct horse", ["admin"])
    _, key = await access_both.store.add_key("acme", "switch", ["producer"])
    _, token = await access_both.store.add_token("acme", "Ana Álvarez")
    text = repr(await rows(access_both))
    assert not any(secret in text for secret in ("Ana", "Álvarez", "correct horse", key, token))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody'",
        "DELETE FROM audit WHERE number = 1",
        "DELETE FROM audit",
        "DELETE FROM audit_chains",
        "UPDATE audit_chains SET number = number - 1",
        "UPDATE audit_chains SET tenant = 'other'",
    ],
)
async def test_the_database_refuses_to_change_a_row_or_to_lose_one(access_both: Access, statement: str) -> None:
    await add(access_both, 2)
    with pytest.raises(Exception, match="the audit log cannot be changed"):
        await access_both.transactions.write(lambda tx: tx.run(statement))
    assert len(await rows(access_both)) == 3


async def test_postgresql_refuses_to_empty_the_log(access_both: Access) -> None:
    if await is_sqlite(access_both):
        return  # it has no TRUNCATE
    for table in ("audit", "audit_chains"):
        with pytest.raises(Exception, match="the audit log cannot be changed"):
            await access_both.transactions.write(lambda tx, of=table: tx.run(f"TRUNCATE {of}"))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("statement", "number", "what"),
    [
        ("UPDATE audit SET who = 'nobody' WHERE tenant = 'acme' AND number = 3", 3, "was changed"),
        ("UPDATE audit SET value_after = '{}' WHERE tenant = 'acme' AND number = 5", 5, "was changed"),
        ("DELETE FROM audit WHERE tenant = 'acme' AND number = 1", 1, "row 1 is missing"),
        ("DELETE FROM audit WHERE tenant = 'acme' AND number IN (3, 4)", 3, "rows 3 to 4 are missing"),
        ("DELETE FROM audit WHERE tenant = 'acme' AND number = 5", 5, "the rows from here to 5 are missing"),
        ("DELETE FROM audit WHERE tenant = 'acme'", 1, "the rows from here to 5 are missing"),
        ("DELETE FROM audit_chains WHERE tenant = 'acme'", 0, "the row of audit_chains that says where the log begins and ends is missing"),
        ("UPDATE audit_chains SET number = 4, hash = 'x' WHERE tenant = 'acme'", 0, "was sealed under another HUB_SECRET"),
        ("UPDATE audit_chains SET first = 2 WHERE tenant = 'acme'", 0, "was sealed under another HUB_SECRET"),
    ],
)
async def test_a_check_finds_what_was_changed_and_what_is_missing(access_both: Access, statement: str, number: int, what: str) -> None:
    await add(access_both, 4)
    await add(access_both, 4, "rival")
    assert await problems(access_both) == []
    await tamper(access_both, statement)
    found = await problems(access_both)
    assert (found[0].tenant, found[0].number) == ("acme", number)
    assert what in found[0].what
    assert {problem.tenant for problem in found} == {"acme"}


async def test_rows_that_were_cut_off_and_sealed_by_who_knows_the_secret_are_found_by_a_hash_kept_elsewhere(access_both: Access) -> None:
    await add(access_both, 4)
    kept = {("acme", row.number): row.hash for row in await rows(access_both)}
    assert await problems(access_both, expected=kept) == []

    def cut(tx: Transaction) -> None:
        ends = store.ends_of(tx, "acme")
        assert ends is not None
        access_both.audit.move_ends(tx, replace(ends, number=3, hash=kept["acme", 3]), sealed=True)

    await tamper(access_both, "DELETE FROM audit WHERE tenant = 'acme' AND number > 3", cut)
    assert await problems(access_both) == []
    assert [problem.number for problem in await problems(access_both, expected=kept)] == [4, 5]


async def test_what_is_too_old_goes_and_the_rest_still_hangs_together(access_both: Access) -> None:
    await add(access_both, 3)
    access_both.clock.advance(10 * DAY_S)
    await add(access_both, 3)
    job = AuditRetention(access_both.transactions, access_both.clock, AuditSettings(retention_days=5), access_both.audit)
    assert await job.trim() == 7  # of rival: the row of its addition; of the hub: the rows of the beginnings of both
    assert [row.number for row in await rows(access_both)] == [5, 6, 7]
    assert await rows(access_both, "rival") == []
    assert await job.trim() == 0
    await add(access_both, 1, "rival")
    assert [row.number for row in await rows(access_both, "rival")] == [2]
    assert await problems(access_both) == []
    assert access_both.audit.counters.expired == 7


async def seal(access: Access, tenant: str) -> bool:
    def again(tx: Transaction) -> bool:
        begin_change(tx)
        return access.audit.seal_again(tx, access.audit.operator("root"), tenant)

    return await access.transactions.write(again)


async def test_after_a_change_of_the_secret_an_operator_seals_and_nobody_else(access_both: Access) -> None:
    await add(access_both, 1)
    other = Access(
        **{**{name: getattr(access_both, name) for name in access_both.__dataclass_fields__}, "audit": AuditLog(b"new", lambda: 5)}
    )
    await add(other, 1)
    await add(other, 1, "rival")
    assert {(problem.tenant, problem.number) for problem in await problems(other)} == {("", 0), ("acme", 0), ("rival", 0)}
    assert other.audit.counters.unsealed == 2
    assert [await seal(other, tenant) for tenant in ("", "acme", "rival", "nobody")] == [True, True, True, False]
    assert await problems(other) == []
    assert await seal(other, "acme") is False
    sealed = (await rows(other))[-1]
    assert (sealed.event, sealed.who.partition(":")[0]) == ("log.sealed", "command-line")


@pytest.mark.parametrize("kind", ["a row written anew", "rows cut off", "rows removed from the front"])
async def test_the_hub_seals_no_ends_that_somebody_else_has_written(access_both: Access, kind: str) -> None:
    """Who can write the database makes a chain that hangs together; the next row, or the removal of old ones, must not seal it."""
    await add(access_both, 4)

    def write(tx: Transaction) -> None:
        chain = store.from_number(tx, "acme", 1, 10)
        if kind == "a row written anew":
            row = replace(chain[-1], who="nobody")
            new = hash_of(chain[-2].hash, row)
            tx.run("UPDATE audit SET who = 'nobody', hash = ? WHERE tenant = 'acme' AND number = 5", (new,))
            tx.run("UPDATE audit_chains SET hash = ? WHERE tenant = 'acme'", (new,))
        elif kind == "rows cut off":
            tx.run("DELETE FROM audit WHERE tenant = 'acme' AND number > 3")
            tx.run("UPDATE audit_chains SET number = 3, hash = ? WHERE tenant = 'acme'", (chain[2].hash,))
        else:
            tx.run("DELETE FROM audit WHERE tenant = 'acme' AND number < 3")
            tx.run("UPDATE audit_chains SET first = 3, anchor = ? WHERE tenant = 'acme'", (chain[1].hash,))

    await tamper(access_both, write)
    bad = "was sealed under another HUB_SECRET"
    assert [bad in problem.what for problem in await problems(access_both)] == [True]
    await add(access_both, 2)
    assert [bad in problem.what for problem in await problems(access_both)] == [True]
    access_both.clock.advance(10 * DAY_S)
    await add(access_both, 1)
    job = AuditRetention(access_both.transactions, access_both.clock, AuditSettings(retention_days=5), access_both.audit)
    assert await job.trim() > 0
    assert [(problem.tenant, bad in problem.what) for problem in await problems(access_both)] == [("acme", True)]


async def remove_log(access: Access, *tenants: str) -> None:
    names = ", ".join(f"'{tenant}'" for tenant in tenants)
    await tamper(access, f"DELETE FROM audit WHERE tenant IN ({names})", f"DELETE FROM audit_chains WHERE tenant IN ({names})")


async def test_a_log_that_is_gone_as_a_whole_is_missed(access_both: Access) -> None:
    await add(access_both, 4)
    kept = {("acme", row.number): row.hash for row in await rows(access_both)}
    await remove_log(access_both, "acme")
    assert {problem.tenant for problem in await problems(access_both)} == {"acme"}
    assert [problem.number for problem in await problems(access_both, expected=kept)] == [0, 1, 2, 3, 4, 5]
    await add(access_both, 1)  # it begins anew, with a good seal
    again = await problems(access_both)
    assert [(problem.tenant, problem.number) for problem in again] == [("acme", 0)]
    assert "2 times that this log begins" in again[0].what


async def test_the_log_of_the_hub_itself_is_missed(access_both: Access) -> None:
    await remove_log(access_both, "")
    assert ("", 0) in {(problem.tenant, problem.number) for problem in await problems(access_both)}
    await add(access_both, 1, "")
    assert {problem.tenant for problem in await problems(access_both)} == {"acme", "rival"}
    assert all("does not tell that this log begins" in problem.what for problem in await problems(access_both))


async def test_of_a_log_that_is_gone_with_all_others_a_hash_kept_elsewhere_tells(access_both: Access) -> None:
    kept = {("acme", row.number): row.hash for row in await rows(access_both)}
    await remove_log(access_both, "", "acme", "rival")
    assert [(problem.tenant, problem.number) for problem in await problems(access_both, expected=kept)] == [("acme", 0), ("acme", 1)]


async def test_a_log_without_its_chain_goes_on_and_shows_it(access_both: Access) -> None:
    await add(access_both, 2)
    await tamper(access_both, "DELETE FROM audit_chains WHERE tenant = 'acme'")
    await add(access_both, 2)
    assert [row.number for row in await rows(access_both)] == [1, 2, 3, 4, 5]
    assert {(problem.tenant, problem.number) for problem in await problems(access_both)} == {("acme", 0)}
    assert len(await problems(access_both)) == 2


async def test_pages_hold_what_is_wanted_of_one_tenant(access_both: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(access_both, 5)
    await access_both.store.add_user("acme", "ana", "long enough", ["admin"])
    await access_both.store.add_user("rival", "ana", "long enough", ["admin"])
    await add(access_both, 5)

    async def numbers(wanted: store.Wanted, limit: int) -> list[list[int]]:
        pages, before = [], None
        while True:
            page = await access_both.transactions.read(lambda tx, at=before: store.page(tx, "acme", wanted, at, limit))  # type: ignore[misc]
            pages.append([row.number for row in page.rows])
            before = page.before
            if before is None:
                return pages

    assert await numbers(store.Wanted(), 5) == [[12, 11, 10, 9, 8], [7, 6, 5, 4, 3], [2, 1]]
    assert await numbers(store.Wanted(), 6) == [[12, 11, 10, 9, 8, 7], [6, 5, 4, 3, 2, 1]]
    assert await numbers(store.Wanted(who=access_both.audit.person("acme", "ana")), 5) == [[7]]
    assert await numbers(store.Wanted(("tenant.added", "user.added")), 5) == [[7, 1]]
    monkeypatch.setattr(store, "MAX_EXAMINED", 4)
    assert await numbers(store.Wanted(("user.added",)), 5) == [[], [7], []]
    assert await access_both.transactions.read(lambda tx: store.page(tx, "nobody", store.Wanted(), None, 5)) == store.Page((), None)


async def test_a_page_ends_where_the_rows_are_too_old(access_both: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(access_both, 6)
    access_both.clock.advance(10)
    since = access_both.clock.wall_ms()
    await add(access_both, 3)
    monkeypatch.setattr(store, "MAX_EXAMINED", 4)
    page = await access_both.transactions.read(lambda tx: store.page(tx, "acme", store.Wanted(since_ms=since), None, 9))
    assert ([row.number for row in page.rows], page.before) == ([10, 9, 8], None)


async def test_rows_of_many_at_once_stand_in_one_chain(access_both: Access) -> None:
    async def one(number: int) -> None:
        def write(tx: Transaction) -> None:
            begin_change(tx)
            access_both.audit.record(tx, HUB, Entry(Event.SIGN_IN, "acme", after={"n": number}))

        await access_both.transactions.write(write)

    await asyncio.gather(*(one(number) for number in range(50)))
    assert [row.number for row in await rows(access_both)] == list(range(1, 52))
    assert await problems(access_both) == []
