"""Who has a copy of the database has no secret that lets anybody in."""

from __future__ import annotations

import pytest

from hub.audit.log import Recorder
from hub.security.access_keys import AccessKeySecrets
from hub.security.access_keys_store import AccessKeysStore
from tests.channels.auth.conftest import Server
from tests.hub.security.conftest import SECRET
from tests.security.test_forged import everything

DERIVED = {"ID token", "X-GWS-User"}
"""They let nobody in."""


async def access_key(server: Server) -> str:
    """The secret of a new access key."""
    access = server.access
    keys = AccessKeysStore(access.transactions, access.clock.wall_ms, Recorder(access.audit), AccessKeySecrets(SECRET))
    return (await keys.add("acme", "crm", ["viewer"]))[1]


async def test_a_copy_of_the_database_holds_no_secret_that_lets_anybody_in(server: Server) -> None:
    secrets = {kind: value for kind, value in (await everything(server)).items() if kind not in DERIVED} | {"password": "correct horse"}
    secrets["access key"] = await access_key(server)
    tables = await server.access.transactions.read(lambda tx: tx.rows("SELECT name FROM sqlite_master WHERE type = 'table'"))
    cells = [
        str(cell)
        for (table,) in tables
        for row in await server.access.transactions.read(lambda tx, table=table: tx.rows(f"SELECT * FROM {table}"))  # type: ignore[misc]
        for cell in row
    ]
    assert len(cells) > 100
    for kind, secret in secrets.items():
        bare = secret.partition("_")[2] or secret
        assert [cell for cell in cells if bare in cell] == [], kind


@pytest.mark.parametrize("table", ["codes", "access_tokens", "refresh_tokens", "api_keys", "access_keys", "clients", "users"])
async def test_there_is_something_to_look_at(server: Server, table: str) -> None:
    await everything(server)
    await access_key(server)
    ((count,),) = await server.access.transactions.read(lambda tx: tx.rows(f"SELECT count(*) FROM {table}"))
    assert count > 0
