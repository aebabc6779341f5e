"""The rows of the demo come with --demo and go without it, and nobody else's."""

from __future__ import annotations

import pytest

from hub.audit.log import Recorder
from hub.security.clients_store import ClientsStore, NewClient
from hub.security.demo_rows import keep_demo_rows
from hub.security.models import AdminError
from tests.hub.security.conftest import Access
from tests.support.cheap_secrets import QUICK


async def names(access: Access) -> tuple[list[str], list[str]]:
    clients = await ClientsStore(access.transactions, access.clock.wall_ms, Recorder(access.audit)).all()
    return [client.id for client in clients], [user.name for user in await access.store.users("demo")]


async def test_they_come_once_and_go(access_both: Access) -> None:
    access = access_both
    await access.store.add_tenant("demo")
    for _ in range(2):
        await keep_demo_rows(access.transactions, access.clock.wall_ms, QUICK, wanted=True)
        assert await names(access) == (["demo-app"], ["demo"])
    for _ in range(2):
        await keep_demo_rows(access.transactions, access.clock.wall_ms, QUICK, wanted=False)
        assert await names(access) == ([], [])


async def test_a_user_of_that_name_whom_an_administrator_added_stays(access: Access) -> None:
    await access.store.add_tenant("demo")
    await access.store.add_user("demo", "demo", "correct horse", ["viewer"])
    await keep_demo_rows(access.transactions, access.clock.wall_ms, QUICK, wanted=True)
    await keep_demo_rows(access.transactions, access.clock.wall_ms, QUICK, wanted=False)
    assert await names(access) == ([], ["demo"])


async def test_nobody_else_has_a_client_of_that_name(access: Access) -> None:
    clients = ClientsStore(access.transactions, access.clock.wall_ms, Recorder(access.audit))
    with pytest.raises(AdminError, match="expected an id other than demo-app"):
        await clients.add(NewClient("demo-app", "acme", grants=["client_credentials"], roles=["viewer"]))
