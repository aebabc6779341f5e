"""Administration, on both databases."""

from typing import Any

import pytest

from hub.core.principal import Action
from hub.security.credentials import hash_secret
from hub.security.models import AdminError, ExistsError, NotThereError
from hub.security.roles import Grant
from tests.hub.security.conftest import Access
from tests.support.cheap_secrets import QUICK

GRANT = Grant(Action.SUBSCRIBE, ("/a/**",))


async def revision(access: Access) -> int:
    row = await access.transactions.read(lambda tx: tx.row("SELECT number FROM revision"))
    assert row is not None
    return int(row[0])


async def test_a_tenant_is_added_listed_shown_and_removed(access_both: Access) -> None:
    store = access_both.store
    await store.add_tenant("zoo.1_x-y")
    assert [tenant.name for tenant in await store.tenants()] == ["acme", "rival", "zoo.1_x-y"]
    assert (await store.tenant("zoo.1_x-y")).created_ms == access_both.clock.wall_ms()
    await store.remove_tenant("zoo.1_x-y")
    with pytest.raises(NotThereError, match=r"no tenant 'zoo.1_x-y'; there are: acme, rival"):
        await store.tenant("zoo.1_x-y")


@pytest.mark.parametrize("name", ["", "a b", "{acme}", "a/b", "-a", "é", "a" * 65, "'; DROP TABLE tenants; --", "a\x00", "a\n"])
async def test_a_name_that_cannot_be_a_tenants_is_refused(access_both: Access, name: str) -> None:
    with pytest.raises(AdminError, match="tenant: expected"):
        await access_both.store.add_tenant(name)


async def test_a_tenant_that_is_there_is_refused_unless_that_is_fine(access_both: Access) -> None:
    with pytest.raises(ExistsError, match="'acme'"):
        await access_both.store.add_tenant("acme")
    assert (await access_both.store.add_tenant("acme", exists_ok=True)).name == "acme"


async def test_a_tenant_that_holds_something_is_removed_by_force_only(access_both: Access) -> None:
    store = access_both.store
    await store.add_user("acme", "ana", "long enough", ["admin"])
    await access_both.key()
    await access_both.token("ana")
    with pytest.raises(AdminError, match="still has 1 user, 1 key, 1 token; remove"):
        await store.remove_tenant("acme")
    await store.remove_tenant("acme", force=True)
    assert (await store.users(), await store.keys(), await store.tokens()) == ([], [], [])


async def test_nothing_of_an_unknown_tenant_is_removed(access_both: Access) -> None:
    with pytest.raises(NotThereError):
        await access_both.store.remove_tenant("nobody")


async def test_a_user_is_added_listed_shown_changed_and_removed(access_both: Access) -> None:
    store = access_both.store
    made = await store.add_user("acme", "Ana López", "long enough", ["supervisor", "admin", "admin"])
    assert made.roles == ("admin", "supervisor")
    assert await store.users("acme") == [made]
    assert await store.users("rival") == []
    assert (await store.change_user("acme", "Ana López", roles=["dashboard"])).roles == ("dashboard",)
    await store.remove_user("acme", "Ana López")
    with pytest.raises(NotThereError, match="there is none; add one with: hub user add NAME --tenant acme"):
        await store.user("acme", "Ana López")


async def test_a_password_is_stored_as_an_argon2_hash_and_can_be_changed(access_both: Access) -> None:
    await access_both.store.add_user("acme", "ana", "long enough", ["admin"])
    await access_both.store.change_user("acme", "ana", password="another one")
    ((stored,),) = await access_both.transactions.read(lambda tx: tx.rows("SELECT password_hash FROM users"))
    assert stored.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert await QUICK.verify("another one", stored)
    assert not await QUICK.verify("long enough", stored)


@pytest.mark.parametrize(
    ("name", "password", "roles", "message"),
    [
        ("", "long enough", ["admin"], "user: expected 1-128 characters"),
        (" ana", "long enough", ["admin"], "user: expected"),
        ("a\x00b", "long enough", ["admin"], "user: expected"),
        ("a\ud800b", "long enough", ["admin"], "user: expected"),
        ("a" * 129, "long enough", ["admin"], "user: expected"),
        ("key:switch", "long enough", ["admin"], "does not begin with 'key:' or 'client:'"),
        ("ana", "short", ["admin"], "password: expected 8-1024 characters, got 5"),
        ("ana", "x" * 1025, ["admin"], "password: expected"),
        ("ana", "long enough", [], "roles: expected at least one"),
        ("ana", "long enough", ["boss"], "no role 'boss'; there are: admin, supervisor"),
    ],
)
async def test_a_user_that_cannot_be_is_refused(access: Access, name: str, password: str, roles: list[str], message: str) -> None:
    with pytest.raises(AdminError, match=message):
        await access.store.add_user("acme", name, password, roles)


@pytest.mark.parametrize("name", ["Robert'); DROP TABLE users;--", "ana@acme.example", "名前", "a" * 128, "x"])
async def test_odd_names_are_kept_as_they_are(access_both: Access, name: str) -> None:
    await access_both.store.add_user("acme", name, "long enough", ["admin"])
    assert (await access_both.store.user("acme", name)).name == name


@pytest.mark.parametrize(
    ("tenant", "name"), [("nobody", "ana"), ("acme", "nobody"), ("a\x00", "ana"), ("acme", "a\x00"), ("acme", "\ud800")]
)
async def test_a_user_that_is_not_there_is_not_found(access_both: Access, tenant: str, name: str) -> None:
    for work in (access_both.store.user, access_both.store.change_user, access_both.store.remove_user):
        with pytest.raises(NotThereError):
            await work(tenant, name)


async def test_names_are_unique_within_a_tenant_only(access_both: Access) -> None:
    store = access_both.store
    await store.add_user("acme", "ana", "long enough", ["admin"])
    await store.add_user("rival", "ana", "long enough", ["admin"])
    await access_both.key("switch")
    await access_both.key("switch", tenant="rival")
    with pytest.raises(ExistsError, match="tenant acme has already"):
        await store.add_user("acme", "ana", "long enough", ["admin"])
    with pytest.raises(ExistsError, match="tenant acme has already"):
        await access_both.key("switch")


async def test_a_key_is_added_listed_shown_and_removed(access_both: Access) -> None:
    store = access_both.store
    key, secret = await store.add_key("acme", "switch", ["producer"])
    assert secret.startswith("hubk_")
    assert await store.keys("acme") == [await store.key("acme", "switch")] == [key]
    await store.remove_key("acme", "switch")
    with pytest.raises(NotThereError):
        await store.remove_key("acme", "switch")


async def test_of_keys_and_tokens_only_hashes_are_stored(access_both: Access) -> None:
    token, key = await access_both.token(), await access_both.key()
    assert await access_both.transactions.read(lambda tx: tx.rows("SELECT hash FROM tokens")) == [(hash_secret(token),)]
    assert await access_both.transactions.read(lambda tx: tx.rows("SELECT hash FROM api_keys")) == [(hash_secret(key),)]


async def test_a_token_of_a_name_needs_roles(access_both: Access) -> None:
    with pytest.raises(AdminError, match=r"roles: expected at least one \(--role\), since wallboard is no user of tenant acme"):
        await access_both.store.add_token("acme", "wallboard")


async def test_a_token_of_a_user_has_the_users_roles_and_goes_with_it(access_both: Access) -> None:
    store = access_both.store
    await store.add_user("acme", "ana", "long enough", ["admin"])
    token, _ = await store.add_token("acme", "ana")
    assert (token.user, token.roles) == ("ana", None)
    await store.remove_user("acme", "ana")
    assert await store.tokens() == []


async def test_a_token_is_found_by_its_id_and_by_its_subject(access_both: Access) -> None:
    token, _ = await access_both.store.add_token("acme", "wallboard", ["dashboard"], expires_ms=access_both.clock.wall_ms() + 1)
    assert await access_both.store.token(token.id) == await access_both.store.token("wallboard", "acme") == token
    assert await access_both.store.tokens("rival") == []


async def test_a_subject_with_several_tokens_needs_an_id(access_both: Access) -> None:
    first, _ = await access_both.store.add_token("acme", "wallboard", ["dashboard"])
    await access_both.token("wallboard")
    with pytest.raises(AdminError, match=f"wallboard has 2 tokens: .*{first.id}"):
        await access_both.store.remove_token("wallboard")
    assert (await access_both.store.remove_token(first.id)).id == first.id
    assert len(await access_both.store.tokens()) == 1


async def test_a_token_that_is_not_there_is_not_found(access_both: Access) -> None:
    token, _ = await access_both.store.add_token("acme", "wallboard", ["dashboard"])
    with pytest.raises(NotThereError, match=rf"no token 'nope'; there are: {token.id} \(wallboard\)"):
        await access_both.store.token("nope")
    with pytest.raises(NotThereError, match="there is none"):
        await access_both.store.remove_token(token.id, "rival")


async def test_a_token_that_has_expired_is_not_made(access: Access) -> None:
    with pytest.raises(AdminError, match="expires: expected a time to come"):
        await access.store.add_token("acme", "wallboard", ["dashboard"], expires_ms=access.clock.wall_ms())


@pytest.mark.parametrize("subject", ["", "key:switch", "a\x07"])
async def test_a_subject_that_cannot_be_is_refused(access: Access, subject: str) -> None:
    with pytest.raises(AdminError, match="subject: expected"):
        await access.store.add_token("acme", subject, ["admin"])


@pytest.mark.parametrize("kind", ["user", "key", "token", "role"])
async def test_an_unknown_tenant_gets_nothing(access_both: Access, kind: str) -> None:
    arguments: dict[str, Any] = {
        "user": ("long enough", ["admin"]),
        "key": (["admin"],),
        "token": (["admin"],),
        "role": ([GRANT],),
    }
    with pytest.raises(NotThereError, match="no tenant 'nobody'; there are: acme, rival"):
        await getattr(access_both.store, f"add_{kind}")("nobody", "x", *arguments[kind])


async def test_a_role_is_added_given_listed_and_removed(access_both: Access) -> None:
    store = access_both.store
    role = await store.add_role("acme", "wall", [GRANT])
    assert await store.roles("acme") == [role]
    assert await store.roles("rival") == []
    await access_both.token("screen", "wall")
    with pytest.raises(NotThereError):  # another tenant's role is none of one's own
        await access_both.token("screen", "wall", "rival")
    with pytest.raises(AdminError, match="wall is still that of token "):
        await store.remove_role("acme", "wall")
    await store.remove_token("screen")
    await store.remove_role("acme", "wall")
    assert await store.roles() == []


@pytest.mark.parametrize(
    ("name", "grants", "message"),
    [("a b", [GRANT], "role: expected"), ("admin", [GRANT], "which is built in"), ("wall", [], "grants: expected at least one")],
)
async def test_a_role_that_cannot_be_is_refused(access: Access, name: str, grants: list[Grant], message: str) -> None:
    with pytest.raises(AdminError, match=message):
        await access.store.add_role("acme", name, grants)


async def test_a_role_is_added_once_and_removed_once(access: Access) -> None:
    await access.store.add_role("acme", "wall", [GRANT])
    with pytest.raises(ExistsError):
        await access.store.add_role("acme", "wall", [GRANT])
    await access.store.remove_role("acme", "wall")
    with pytest.raises(NotThereError):
        await access.store.remove_role("acme", "wall")


async def test_who_has_a_role_is_named_up_to_ten(access: Access) -> None:
    await access.store.add_role("acme", "wall", [GRANT])
    for number in range(12):
        await access.key(f"key-{number:02}", "wall")
    with pytest.raises(AdminError, match=r"key key-00, .* and 2 more"):
        await access.store.remove_role("acme", "wall")


async def test_every_change_bumps_the_revision_and_nothing_else_does(access_both: Access) -> None:
    store = access_both.store
    seen = [await revision(access_both)]

    async def changed() -> bool:
        seen.append(await revision(access_both))
        return seen[-1] == seen[-2] + 1

    await store.add_user("acme", "ana", "long enough", ["admin"])
    assert await changed()
    await store.change_user("acme", "ana", roles=["dashboard"])
    assert await changed()
    await store.add_key("acme", "switch", ["producer"])
    assert await changed()
    token, _ = await store.add_token("acme", "ana")
    assert await changed()
    await store.add_role("acme", "wall", [GRANT])
    assert await changed()
    for removal in (
        store.remove_token(token.id),
        store.remove_key("acme", "switch"),
        store.remove_user("acme", "ana"),
        store.remove_role("acme", "wall"),
        store.remove_tenant("acme"),
    ):
        await removal
        assert await changed()
    with pytest.raises(ExistsError):
        await store.add_tenant("rival")
    assert await revision(access_both) == seen[-1]


async def test_a_change_that_is_refused_leaves_nothing(access_both: Access) -> None:
    before = await revision(access_both)
    with pytest.raises(NotThereError):
        await access_both.store.remove_user("acme", "nobody")
    assert await access_both.transactions.read(lambda tx: tx.rows("SELECT id FROM users")) == []
    assert await revision(access_both) == before
