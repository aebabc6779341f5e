"""The databases that tests take from one another: each finds them as if they had just been migrated."""

from __future__ import annotations

import psycopg
import pytest

from hub.storage.migrations import HUB
from tests.hub.storage import backends
from tests.hub.storage.backends import EVENTS, Postgres

_FILLED = """
SET session_replication_role = replica;
INSERT INTO tenants (name, created_ms) VALUES ('acme', 0);
INSERT INTO leases (name, owner, fence, until) VALUES ('of a test', 'somebody', 1, now());
UPDATE revision SET number = 7, last_user = 7;
UPDATE outbox_revision SET number = 7
"""


async def _state(connection: psycopg.AsyncConnection) -> dict[str, object]:
    """How many rows each table has, where each sequence stands, and both counters."""
    found: dict[str, object] = {}
    for kind, question in (("r", "count(*)"), ("S", "last_value, is_called")):
        names = await (
            await connection.execute("SELECT relname FROM pg_class WHERE relkind = %s AND relnamespace = 'public'::regnamespace", (kind,))
        ).fetchall()
        for (name,) in names:
            found[name] = await (await connection.execute(f"SELECT {question} FROM {name}".encode())).fetchone()
    found["counters"] = await (
        await connection.execute("SELECT revision.number, last_user, outbox_revision.number FROM revision, outbox_revision")
    ).fetchone()
    return found


@pytest.mark.parametrize("every", [1, 1000], ids=["new files", "rows deleted"])
async def test_a_database_that_was_used_is_as_one_that_was_just_migrated(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    monkeypatch.setattr(backends, "_TRUNCATED_EVERY", every)
    packages = (*HUB, EVENTS)
    name = await postgres.migrated(packages)
    async with await psycopg.AsyncConnection.connect(postgres.url(name), autocommit=True) as connection:
        new = await _state(connection)
        await connection.execute(_FILLED)
        for sequence in [each for each in new if each.endswith("_seq")]:
            await connection.execute("SELECT nextval(%s)", (sequence,))
        assert (await _state(connection))["tenants"] == (1,)
        assert await postgres.migrated(packages) == name
        assert await _state(connection) == new
        assert new["counters"] == (1, 0, 1)
