"""Security put together from settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.audit.log import AuditLog, Recorder
from hub.core.limits import Limits
from hub.ops.settings import Settings
from hub.security.clients_store import ClientsStore, NewClient
from hub.security.gate import Failure
from hub.security.service import Security
from hub.security.settings import PasswordHashSettings
from hub.security.store import Store
from hub.storage.service import DatabaseService
from tests.hub.security.conftest import bearer, scope
from tests.support.access import ACCESS
from tests.support.cheap_secrets import QUICK
from tests.world import ManualClock


@asynccontextmanager
async def running(settings: Settings, clock: ManualClock) -> AsyncIterator[Security]:
    """Security over the database that the settings name, as a hub starts and stops them."""
    storage = DatabaseService(settings.database)
    security = Security(settings, clock, storage.transactions, ACCESS)
    await storage.start()
    await security.start()
    yield security
    await security.stop()
    await storage.stop()


async def identify(security: Security, *headers: tuple[str, str]) -> Failure | None:
    return (await security.gate.identify(scope("/x", *headers))).failure


async def test_it_starts_on_an_empty_folder_and_remembers(tmp_path: Path, clock: ManualClock) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    async with running(settings, clock) as first:
        await first.store.add_tenant("acme")
        _, token = await first.store.add_token("acme", "ana", ["admin"])
    async with running(settings, clock) as second:
        assert await identify(second, bearer(token)) is None
    assert (tmp_path / "data" / "hub.db").exists()


async def test_a_database_that_a_demo_ran_on_lets_nobody_in_with_its_credentials(tmp_path: Path, clock: ManualClock) -> None:
    async with running(Settings(data_dir=tmp_path, demo=True), clock) as demo:
        assert await identify(demo, bearer("demo-token")) is None
        cookie = await demo.gate.demo_cookie(secure=False)
        assert cookie is not None
    async with running(Settings(data_dir=tmp_path), clock) as plain:
        assert await identify(plain, bearer("demo-token")) is Failure.BAD_TOKEN
        assert await identify(plain, ("x-api-key", "demo-key")) is Failure.UNKNOWN_KEY
        assert await identify(plain, ("Cookie", cookie.partition(";")[0])) is Failure.BAD_TOKEN
        assert (await plain.store.users(), await plain.store.keys(), await plain.store.tokens()) == ([], [], [])


@pytest.mark.parametrize(("flags", "expected"), [({}, []), ({"demo": True}, ["demo"]), ({"open": True}, ["demo"])])
async def test_demo_and_open_have_the_tenant_demo(tmp_path: Path, clock: ManualClock, flags: dict[str, bool], expected: list[str]) -> None:
    for _ in range(2):  # the second start finds it
        async with running(Settings(data_dir=tmp_path, **flags), clock) as security:
            assert [tenant.name for tenant in await security.store.tenants()] == expected
            assert (security.gate.anonymous() is not None) is ("open" in flags)


async def test_a_given_secret_signs_and_none_is_kept(tmp_path: Path, clock: ManualClock) -> None:
    async with running(Settings(data_dir=tmp_path, secret="a secret of 22 letters"), clock):
        assert not (tmp_path / "secret").exists()


async def test_passwords_are_hashed_at_the_cost_of_the_settings(tmp_path: Path, clock: ManualClock) -> None:
    settings = Settings(data_dir=tmp_path, demo=True, password_hashes=PasswordHashSettings(memory_kib=19_456, rounds=2))
    async with running(settings, clock) as security:
        await security.store.add_user("demo", "ana", "long enough", ["admin"])
        rows = await security.store._transactions.read(lambda tx: tx.rows("SELECT name, password_hash FROM users ORDER BY name"))
        assert [name for name, _ in rows] == ["ana", "demo"]
        for stored in (*(stored for _, stored in rows), security.gate.passwords.nobody):
            assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await security.gate.passwords.verify("long enough", rows[0][1])


async def test_pages_of_the_public_url_and_allowed_origins_may_use_cookies(tmp_path: Path, clock: ManualClock) -> None:
    settings = Settings(data_dir=tmp_path, public_url="https://Hub.example.com/cx/", allowed_origins=("https://desk.example.com",))
    async with running(settings, clock) as security:
        assert security.gate.allowed_origins == {"https://hub.example.com", "https://desk.example.com"}


async def test_the_setting_bounds_the_origins_of_clients(tmp_path: Path, clock: ManualClock) -> None:
    settings = Settings(data_dir=tmp_path, limits=Limits(max_client_origins=3))
    storage = DatabaseService(settings.database)
    await storage.start()
    recorder = Recorder(AuditLog(b"secret", clock.wall_ms))
    store = Store(storage.transactions, clock.wall_ms, recorder, QUICK)
    clients = ClientsStore(storage.transactions, clock.wall_ms, recorder)
    for tenant, number in (("rival", 4), ("acme", 1)):
        await store.add_tenant(tenant)
        origins = [f"https://{tenant}{each}.example" for each in range(number)]
        await clients.add(NewClient(f"{tenant}-app", tenant, redirect_uris=["https://app.example/cb"], origins=origins))
        clock.advance(1)
    await storage.stop()
    async with running(settings, clock) as security:
        await security.gate.refresh()
        names = ("rival0", "rival1", "rival2", "acme0")
        allowed = [name for name in names if security.gate.allows_origin(f"https://{name}.example")]
        assert allowed == ["rival0", "rival1", "acme0"]
