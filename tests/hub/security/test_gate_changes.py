"""The gate follows the database: credentials removed, changed or run out while somebody is connected."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.core.principal import Action, Principal
from hub.redis.commands import ServerCommands
from hub.redis.endpoint import UrlEndpoint
from hub.redis.names import Names
from hub.redis.scripts import Scripts
from hub.redis.shared import SharedRedis
from hub.security import directory
from hub.security.credentials import hash_secret
from hub.security.gate import Failure, Gate
from hub.security.roles import Grant
from hub.security.tickets_redis import RedisTickets
from tests.hub.security.conftest import Access, bearer, failure, principal_of, scope
from tests.support.redis_server import KINDS, RedisServer


async def revoked(access: Access, *principals: Principal) -> list[bool]:
    """Who is told to be gone in one refresh."""
    told: list[directory.Gone] = []
    access.gate.on_revoked[:] = [told.append]
    await access.gate.refresh()
    return [any(gone(principal) for gone in told) for principal in principals]


async def test_a_removed_token_is_refused_and_its_sessions_end(access_both: Access) -> None:
    token, other = await access_both.token("ana"), await access_both.token("bob")
    ana, bob = await principal_of(access_both, token), await principal_of(access_both, other)
    await access_both.store.remove_token("ana")
    assert await revoked(access_both, ana, bob) == [True, False]
    assert await failure(access_both.gate, bearer(token)) is Failure.BAD_TOKEN
    assert await failure(access_both.gate, bearer(other)) is None
    assert await revoked(access_both, ana, bob) == [False, False]


async def test_a_removed_key_ends_its_sessions(access_both: Access) -> None:
    caller = await access_both.gate.identify(scope("/x", ("x-api-key", await access_both.key())))
    assert caller.principal is not None
    await access_both.store.remove_key("acme", "switch")
    assert await revoked(access_both, caller.principal) == [True]


async def test_a_removed_tenant_ends_everything_of_it(access: Access) -> None:
    ana = await principal_of(access, await access.token("ana"))
    bob = await principal_of(access, await access.token("bob", tenant="rival"))
    await access.store.remove_tenant("acme", force=True)
    assert await revoked(access, ana, bob) == [True, False]


async def test_another_password_ends_what_the_old_one_opened(access_both: Access) -> None:
    await access_both.store.add_user("acme", "ana", "long enough", ["admin"])
    credential, _ = await access_both.gate.directory.by_user("acme", "ana")
    assert credential is not None
    cookie = ("Cookie", access_both.gate.sign_in_cookie(credential, secure=False).partition(";")[0])
    caller = await access_both.gate.identify(scope("/x", cookie))
    assert caller.principal is not None
    await access_both.store.change_user("acme", "ana", password="another one")
    assert await revoked(access_both, caller.principal) == [True]
    assert await failure(access_both.gate, cookie) is Failure.BAD_TOKEN


async def test_other_roles_of_the_user_end_what_its_token_opened(access_both: Access) -> None:
    await access_both.store.add_user("acme", "ana", "long enough", ["admin"])
    _, token = await access_both.store.add_token("acme", "ana")
    ana = await principal_of(access_both, token)
    await access_both.store.change_user("acme", "ana", roles=["dashboard"])
    assert await revoked(access_both, ana) == [True]
    assert (await principal_of(access_both, token)).roles == {"dashboard"}


async def test_a_change_of_nothing_that_matters_ends_nothing(access: Access) -> None:
    token = await access.token("ana")
    ana = await principal_of(access, token)
    await access.store.add_tenant("another")
    await access.token("bob")
    lookups = access.gate.directory.counters.lookups
    assert await revoked(access, ana) == [False]
    assert await principal_of(access, token) == ana
    assert (access.gate.directory.counters.reloads, access.gate.directory.counters.lookups) == (0, lookups)


async def test_an_expired_token_is_refused_at_once_and_its_sessions_end(access: Access) -> None:
    token = await access.token("ana", expires_ms=access.clock.wall_ms() + 5000)
    ana, bob = await principal_of(access, token), await principal_of(access, await access.token("bob"))
    assert await revoked(access, ana) == [False]
    access.clock.advance(5)
    assert await failure(access.gate, bearer(token)) is Failure.BAD_TOKEN
    assert await revoked(access, ana, bob) == [True, False]
    assert await failure(access.gate, bearer(token)) is Failure.BAD_TOKEN


async def test_a_removed_token_that_would_expire_later_is_told_once(access: Access) -> None:
    ana = await principal_of(access, await access.token("ana", expires_ms=access.clock.wall_ms() + 5000))
    await access.store.remove_token("ana")
    assert await revoked(access, ana) == [True]
    access.clock.advance(5)
    assert await revoked(access, ana) == [False]


async def test_a_new_token_is_known_although_it_was_tried_before(access: Access) -> None:
    token = "a-token-that-comes-later"
    assert await failure(access.gate, bearer(token)) is Failure.BAD_TOKEN
    lookups = access.gate.directory.counters.lookups
    assert await failure(access.gate, bearer(token)) is Failure.BAD_TOKEN
    assert access.gate.directory.counters.lookups == lookups
    made, _ = await access.store.add_token("acme", "ana", ["admin"])
    change = (hash_secret(token), made.id)
    await access.transactions.write(lambda tx: tx.run("UPDATE tokens SET hash = ? WHERE id = ?", change))
    await access.gate.refresh()
    assert await failure(access.gate, bearer(token)) is None


async def test_look_ups_are_remembered_and_bounded(access: Access) -> None:
    made = access.make_gate(max_cached=2)
    await made.refresh()
    tokens = [await access.token(f"user-{number}") for number in range(3)]
    counters = made.directory.counters
    for token in (*tokens, tokens[2]):
        assert await failure(made, bearer(token)) is None
    assert counters.lookups == 3
    for guess in ("x", "y", "z"):
        assert await failure(made, bearer(guess)) is Failure.BAD_TOKEN
    assert counters.lookups == 6
    assert await failure(made, bearer(tokens[2])) is None  # guesses push out nobody who is known
    assert counters.lookups == 6
    assert await failure(made, bearer(tokens[0])) is None
    assert counters.lookups == 7
    for tenant in ("a", "b", "c"):
        await made.directory.grants(tenant, frozenset({"admin"}))
    assert len(made.directory._grants) == 1


async def test_a_look_up_that_a_change_overtakes_is_made_again(access: Access) -> None:
    """A row read before a removal must not be remembered after it."""
    token = await access.token()
    source = access.gate.directory._database
    reading, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        """The database, one of whose answers comes late."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

        async def by_token(self, digest: str) -> Any:
            found = await source.by_token(digest)
            if not reading.is_set():
                reading.set()
                await go_on.wait()
            return found

    access.gate.directory._database = Slow()
    identifying = asyncio.create_task(failure(access.gate, bearer(token)))
    await reading.wait()
    await access.store.remove_token("ana")
    await access.gate.refresh()
    go_on.set()
    assert await identifying is Failure.BAD_TOKEN


async def test_grants_that_a_change_overtakes_are_read_again(access: Access) -> None:
    await access.store.add_role("acme", "wall", [Grant(Action.SUBSCRIBE, ("/a/**",))])
    source = access.gate.directory._database
    reading, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        """The database, one of whose answers comes late."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

        async def grants(self, tenant: str, roles: frozenset[str]) -> Any:
            found = await source.grants(tenant, roles)
            if not reading.is_set():
                reading.set()
                await go_on.wait()
            return found

    access.gate.directory._database = Slow()
    ana = Principal("acme", "ana", frozenset({"wall"}), "l", "l")
    deciding = asyncio.create_task(access.gate.decisions.decide(ana, Action.SUBSCRIBE, "/a/b"))
    await reading.wait()
    await access.store.remove_role("acme", "wall")
    await access.gate.refresh()
    go_on.set()
    assert not (await deciding).allowed


# -- following ----------------------------------------------------------------------------------------------------------


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_running_gate_follows_by_itself(access_both: Access) -> None:
    access_both.gate = made = access_both.make_gate(refresh_s=0.01)
    await made.refresh()
    ana = await principal_of(access_both, await access_both.token())
    told: list[directory.Gone] = []
    made.on_revoked.append(told.append)
    await made.start()
    await access_both.store.remove_token("ana")
    await until(lambda: told)
    await made.stop()
    assert told[0](ana)


async def test_a_listener_that_fails_does_not_keep_it_from_the_others(access: Access) -> None:
    ana = await principal_of(access, await access.token("ana"))
    told: list[directory.Gone] = []

    def fail(_: directory.Gone) -> None:
        raise RuntimeError("stuck")

    access.gate.on_revoked.extend([fail, told.append])
    await access.store.remove_token("ana")
    with capture_logs() as logs:
        await access.gate.refresh()
    assert told[0](ana)
    assert [log["log_level"] for log in logs] == ["error"]


async def test_a_change_that_the_database_failed_to_tell_is_asked_for_again(access: Access) -> None:
    ana = await principal_of(access, await access.token("ana"))
    source = access.gate.directory._database

    class Fails:
        """A database that fails in the middle of a refresh."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

        async def by_ids(self, ids: Any) -> Any:
            raise ConnectionError("no route")

    await access.store.remove_token("ana")
    access.gate.directory._database = Fails()
    with pytest.raises(ConnectionError):
        await access.gate.refresh()
    access.gate.directory._database = source
    assert await revoked(access, ana) == [True]


async def test_a_gate_that_never_ran_can_be_stopped(access: Access) -> None:
    await access.gate.stop()


async def test_a_database_that_fails_makes_the_gate_not_ready_until_it_is_back(access: Access) -> None:
    made = access.make_gate(refresh_s=0.01)
    await made.refresh()
    source = made.directory._database
    down = True

    class Flaky:
        """A database that can be away."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

        async def changes(self, after: int | None) -> Any:
            if down:
                raise ConnectionError("no route")
            return await source.changes(after)

    token = await access.token()
    assert await failure(made, bearer(token)) is None
    await made.start()
    assert await made.readiness() is None
    with capture_logs():
        made.directory._database = Flaky()
        await until(lambda: made.following._trouble is not None)
    assert await made.readiness() == "the database does not answer: ConnectionError"
    assert await failure(made, bearer(token)) is None
    down = False
    await until(lambda: made.following._trouble is None)
    await made.stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_ticket_opens_nothing_on_any_node_after_its_credential_has_changed(
    access: Access, shared_redis: Callable[[str], RedisServer], kind: str
) -> None:
    """Waiting, open, or ended; by a node that knew the credential, or did not."""
    commands, names = ServerCommands(UrlEndpoint(shared_redis(kind).url)), Names(secrets.token_hex(8))

    async def node() -> tuple[Gate, RedisTickets]:
        tickets = RedisTickets(SharedRedis(lambda tenant: commands, names, Scripts(), secrets.token_hex(6)), access.clock)
        gate = access.make_gate(tickets=tickets)
        await gate.refresh()
        return gate, tickets

    (a, _), (b, tickets_b), (c, _) = await node(), await node(), await node()
    await access.store.add_user("acme", "ana", "long enough", ["admin"])
    credential, _ = await a.directory.by_user("acme", "ana")
    assert credential is not None
    caller = await a.identify(scope("/x", ("Cookie", a.sign_in_cookie(credential, secure=False).partition(";")[0])))
    assert caller.principal is not None
    requests = [scope("/events", query=f"channel=/a&ticket={await a.issue_ticket(caller.principal)}") for _ in range(3)]
    waiting, opened, ended = requests
    for request in (opened, ended):
        stream = (await b.identify(request)).ticket
        assert stream is not None
        await tickets_b.opened(stream, lambda: None)
        if request is ended:
            tickets_b.closed(stream)
    await tickets_b.stop()
    assert (await a.identify({**opened, "method": "HEAD"})).principal == caller.principal
    await access.store.change_user("acme", "ana", roles=["viewer"])
    for gate in (a, b):
        await gate.refresh()
    for gate in (a, b, c):
        for request in requests:
            assert (await gate.identify({**request, "method": "HEAD"})).failure is Failure.BAD_TICKET
    assert (await b.identify(waiting)).failure is Failure.BAD_TICKET
    await commands.close()
