"""What happens to a database of version 0.1.0 when a newer hub opens it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from hub.core.principal import Action
from hub.security.changes import Changes
from hub.security.lookup import DatabaseLookup
from hub.security.migrations import security_0001_who_calls
from hub.security.roles import Grant, allowed, parse_grant
from hub.storage.database import Database
from hub.storage.interface import Transaction
from hub.storage.migrations import migrate
from hub.storage.schema import POSTGRESQL, SQLITE, Schema
from tests.hub.storage.backends import opened, running
from tests.support.access import ROLES as BUILT_IN

T = TypeVar("T")


def _subscribe(*within: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"action": "subscribe", "within": list(within), "without": list(without)}


def _call(*within: str) -> dict[str, Any]:
    return {"action": "call", "within": list(within), "without": []}


ROLES = {
    "everything": ([_subscribe("/**", without=("/hub", "/hub/**"))], ["/interactions/events", "/statistics/read"]),
    "interactions": ([_subscribe("/nexus/v3/interactions")], ["/interactions/events"]),
    "one-interaction": ([_subscribe("/nexus/v3/interactions/i1")], ["/interactions/events"]),
    "nexus": ([_subscribe("/nexus/**")], ["/interactions/events"]),
    "values": ([_subscribe("/statistics/v3/values/Agent/**")], ["/statistics/read"]),
    "reads-already": ([_subscribe("/statistics/**"), _call("/statistics/read")], []),
    "calls-all": ([_subscribe("/**"), _call("/**")], []),
    "excepted": ([_subscribe("/**", without=("/nexus/**", "/statistics/**"))], []),
    "messages": ([_subscribe("/nexus/v3/channels/**")], []),
    "free": ([_subscribe("/news/*"), {"action": "publish", "within": ["/**"], "without": []}], []),
    "operator": ([_call("/admin/read", "/admin/write")], ["/statistics/read", "/statistics/control"]),
    "calls": ([_call("/ingest/write")], []),
    # a name that a built-in role has since then: it stays the tenant's own
    "viewer": ([_subscribe("/news/*")], []),
}


@pytest.fixture
async def old_database(empty_url: str) -> AsyncIterator[Database]:
    """One of version 0.1.0, with roles of a tenant's own."""

    async with opened(empty_url) as database:
        async with running(database) as transactions:
            await transactions.write(fill)
        yield database


def fill(tx: Transaction) -> None:
    words = SQLITE if tx.skip_locked == "" else POSTGRESQL
    schema = Schema(tx._connection, words)
    security_0001_who_calls.upgrade(schema)
    schema.run(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
        "INSERT INTO alembic_version (version_num) VALUES ('security_0001')",
        "INSERT INTO tenants (name, created_ms) VALUES ('acme', 0)",
    )
    for name, (grants, _) in ROLES.items():
        tx.run("INSERT INTO roles (tenant, name, grants, created_ms) VALUES ('acme', ?, ?, 0)", (name, json.dumps(grants)))


async def asked(database: Database, question: Callable[[DatabaseLookup], Awaitable[T]]) -> T:
    async with running(database) as transactions:
        return await question(DatabaseLookup(transactions, BUILT_IN))


async def number_of(lookup: DatabaseLookup) -> int:
    """The number of the newest change."""
    return (await lookup.changes(None)).number


async def test_roles_gain_what_hearing_needs_and_no_messages(old_database: Database) -> None:
    before = await asked(old_database, number_of)
    with capture_logs() as logs:
        await migrate(old_database)
    async with running(old_database) as transactions:
        lookup = DatabaseLookup(transactions, BUILT_IN)
        for name, (grants, gained) in ROLES.items():
            whole = await lookup.grants("acme", frozenset({name}))
            assert whole[: len(grants)] == tuple(parse_grant(grant) for grant in grants), name
            assert whole[len(grants) :] == ((Grant(Action.CALL, tuple(gained)),) if gained else ()), name
            assert name == "calls-all" or not allowed(whole, Action.CALL, "/messaging/read")
        assert await lookup.changes(before) == Changes(before + 1, None)
    told = {entry["role"]: entry["operations"] for entry in logs if entry["event"] == "role_gained_operations"}
    assert told == {name: gained for name, (_, gained) in ROLES.items() if gained}
    assert {entry["role"] for entry in logs if entry["event"] == "role_hears_less"} == {"everything", "nexus", "messages"}


async def test_a_second_start_changes_nothing(old_database: Database) -> None:
    await migrate(old_database)
    revision = await asked(old_database, number_of)
    with capture_logs() as logs:
        await migrate(old_database)
    assert await asked(old_database, number_of) == revision
    assert [entry for entry in logs if entry["event"].startswith("role_")] == []


async def test_processes_that_upgrade_at_once_change_each_role_once(old_database: Database) -> None:
    await asyncio.gather(*(migrate(old_database) for _ in range(3)))
    grants = await asked(old_database, lambda lookup: lookup.grants("acme", frozenset({"everything"})))
    assert len(grants) == 2


async def test_a_role_of_a_new_name_is_built_in_where_no_tenant_has_it(old_database: Database) -> None:
    await migrate(old_database)
    async with running(old_database) as transactions:
        lookup = DatabaseLookup(transactions, BUILT_IN)
        assert await lookup.grants("other", frozenset({"viewer"})) == BUILT_IN["viewer"]
        assert await lookup.grants("acme", frozenset({"viewer", "agent"})) == (*BUILT_IN["agent"], parse_grant(_subscribe("/news/*")))
