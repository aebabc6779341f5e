"""Access keys: their secrets are derived, and end with the key, its generation or the hub's secret; on both databases."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from hub.audit.log import Recorder
from hub.core.principal import Principal
from hub.objects import sigv4
from hub.objects.sigv4 import Credentials, Refusal, SignatureError, Target
from hub.security import access_keys_store
from hub.security.access_keys import AccessKeySecrets, is_access_key_id, new_access_key_id
from hub.security.access_keys_store import AccessKeysStore
from hub.security.gate import Gate
from hub.security.models import AccessKey, AdminError, ExistsError, NotThereError
from hub.security.signed_requests import SignedRequests, is_signed
from tests.hub.security.conftest import SECRET, Access, scope
from tests.hub.security.test_gate_changes import revoked
from tests.hub.security.test_store import GRANT

URL = "http://hub.test:8080/attached-files/demo/a%2Fb?associatedResourceArn=arn%3Aaws"
EMPTY = hashlib.sha256(b"").hexdigest()


def keys_of(access: Access, secret: bytes = SECRET) -> AccessKeysStore:
    return AccessKeysStore(access.transactions, access.clock.wall_ms, Recorder(access.audit), AccessKeySecrets(secret))


def door_of(gate: Gate, access: Access, public_url: str | None = None, secret: bytes = SECRET) -> SignedRequests:
    return SignedRequests(gate.directory, AccessKeySecrets(secret), access.clock, public_url)


def signed(access: Access, key_id: str, secret: str, *, url: str = URL, method: str = "GET", **more: Any) -> dict[str, Any]:
    """The scope of a request that somebody has signed."""
    sent = sigv4.sign(method, url, {}, EMPTY, Credentials(key_id, secret), Target("eu-central-1", "connect"), access.clock.wall_ms() / 1000)
    path, _, query = url.removeprefix("http://hub.test:8080").partition("?")
    made = scope(path, *sent.items(), query=query, method=method, **more)
    return {**made, "raw_path": path.encode()}


async def let_in(door: SignedRequests, request: dict[str, Any]) -> Principal:
    return door.verified(await door.claimed(request, "connect"), EMPTY)


async def refused(door: SignedRequests, request: dict[str, Any]) -> Refusal:
    with pytest.raises(SignatureError) as caught:
        await let_in(door, request)
    return caught.value.kind


async def test_a_key_is_added_listed_rotated_and_removed_beside_api_keys(access_both: Access) -> None:
    store, keys = access_both.store, keys_of(access_both)
    key, secret = await keys.add("acme", "crm", ["viewer"])
    other, _ = await store.add_key("acme", "switch", ["producer"])
    assert (is_access_key_id(key.id), len(secret)) == (True, 40)
    assert await store.keys("acme") == [key, other]
    assert await store.key_page("acme", "crm", 10) == [other]
    assert await store.key("acme", "crm") == key
    assert (await store.tenant("acme")).keys == 2
    rotated, another = await keys.rotate("acme", "crm")
    assert rotated == AccessKey(key.id, "acme", "crm", ("viewer",), key.created_ms, 2, access_both.clock.wall_ms())
    assert (await store.key("acme", "crm"), another == secret) == (rotated, False)
    for name, add in (("crm", store.add_key), ("switch", keys.add), ("crm", keys.add)):
        with pytest.raises(ExistsError, match=f"'{name}', which tenant acme has already"):
            await add("acme", name, ["viewer"])
    with pytest.raises(AdminError, match="expected an access key, got 'switch'"):
        await keys.rotate("acme", "switch")
    await store.remove_key("acme", "crm")
    assert await store.keys("acme") == [other]
    with pytest.raises(NotThereError):
        await keys.rotate("acme", "crm")


async def test_a_role_of_an_access_key_and_its_tenant_stay(access_both: Access) -> None:
    await access_both.store.add_role("acme", "reader", [GRANT])
    await keys_of(access_both).add("acme", "crm", ["reader"])
    with pytest.raises(AdminError, match="still that of key crm"):
        await access_both.store.remove_role("acme", "reader")
    with pytest.raises(AdminError, match="still has 1 key; remove"):
        await access_both.store.remove_tenant("acme")
    await access_both.store.remove_tenant("acme", force=True)
    assert await access_both.store.keys() == []


def test_a_secret_is_derived_as_the_documents_say() -> None:
    key = hmac.new(b"0123456789abcdef0123456789abcdef", b"connect access keys v1", hashlib.sha256).digest()
    derived = hmac.new(key, b"AKIAHUBAAAAAAAAAAAAA\n3", hashlib.sha256).digest()[:30]
    secrets = AccessKeySecrets(b"0123456789abcdef0123456789abcdef")
    assert secrets.of("AKIAHUBAAAAAAAAAAAAA", 3) == base64.b64encode(derived).decode()
    assert secrets.of("AKIAHUBAAAAAAAAAAAAA", 4) != secrets.of("AKIAHUBAAAAAAAAAAAAA", 3) != secrets.of("AKIAHUBAAAAAAAAAAAAB", 3)


def test_ids_are_random_and_others_are_none() -> None:
    made = {new_access_key_id() for _ in range(100)}
    assert (len(made), all(is_access_key_id(each) for each in made)) == (100, True)
    for other in ("", "AKIAHUB", "AKIAHUBaaaaaaaaaaaaa", "AKIAHUBAAAAAAAAAAAAA0", "AKIAHUBAAAAAAAAAAAA1", "AKIAHUBAAAAAAAAAAAAA\n"):
        assert not is_access_key_id(other)


async def test_no_secret_is_stored_or_logged(access_both: Access) -> None:
    _, secret = await keys_of(access_both).add("acme", "crm", ["viewer"])
    for table in ("access_keys", "audit", "revocations"):
        rows = await access_both.transactions.read(lambda tx, table=table: tx.rows(f"SELECT * FROM {table}"))  # type: ignore[misc]
        assert rows
        assert secret not in repr(rows)


async def test_who_signs_is_let_in_as_the_key(access_both: Access) -> None:
    key, secret = await keys_of(access_both).add("acme", "crm", ["viewer"])
    door = door_of(access_both.gate, access_both)
    caller = await let_in(door, signed(access_both, key.id, secret))
    assert (caller.tenant, caller.subject, caller.roles, caller.credential) == ("acme", "key:crm", frozenset({"viewer"}), f"aws:{key.id}")
    assert await refused(door, signed(access_both, key.id, secret[:-1] + ("a" if secret[-1] != "a" else "b"))) is Refusal.WRONG
    assert await refused(door, signed(access_both, new_access_key_id(), secret)) is Refusal.UNKNOWN_KEY
    assert await refused(door, signed(access_both, "AKIAELSE", secret)) is Refusal.UNKNOWN_KEY


async def test_a_rotated_and_a_removed_key_are_refused_on_every_node(access_both: Access) -> None:
    keys = keys_of(access_both)
    key, old = await keys.add("acme", "crm", ["viewer"])
    gate = access_both.make_gate()
    await gate.refresh()
    door, here = door_of(gate, access_both), door_of(access_both.gate, access_both)
    caller = await let_in(door, signed(access_both, key.id, old))
    caller = await let_in(here, signed(access_both, key.id, old))
    _, new = await keys.rotate("acme", "crm")
    assert await revoked(access_both, caller) == [True]
    await gate.refresh()
    for each in (door, here):
        assert await refused(each, signed(access_both, key.id, old)) is Refusal.WRONG
        assert (await let_in(each, signed(access_both, key.id, new))).subject == "key:crm"
    await access_both.store.remove_key("acme", "crm")
    assert await revoked(access_both, caller) == [True]
    await gate.refresh()
    for each in (door, here):
        assert await refused(each, signed(access_both, key.id, new)) is Refusal.UNKNOWN_KEY


async def test_a_key_that_ends_while_the_body_comes_lets_nobody_in(access: Access) -> None:
    keys, door = keys_of(access), door_of(access.gate, access)
    key, secret = await keys.add("acme", "crm", ["viewer"])
    claimed = await door.claimed(signed(access, key.id, secret), "connect")
    await keys.rotate("acme", "crm")
    await access.gate.refresh()
    with pytest.raises(SignatureError, match="has another secret now"):
        door.verified(claimed, EMPTY)


async def test_a_new_key_that_was_tried_before_is_known(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    door, chosen = door_of(access.gate, access), new_access_key_id()
    monkeypatch.setattr(access_keys_store, "new_access_key_id", lambda: chosen)
    assert await refused(door, signed(access, chosen, "x")) is Refusal.UNKNOWN_KEY
    _, secret = await keys_of(access).add("rival", "crm", ["viewer"])
    await access.gate.refresh()
    assert (await let_in(door, signed(access, chosen, secret))).tenant == "rival"


async def test_another_secret_of_the_hub_ends_every_key(access: Access) -> None:
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    assert await refused(door_of(access.gate, access, secret=b"another"), signed(access, key.id, secret)) is Refusal.WRONG


async def test_the_key_of_the_demo_is_good_with_the_demo_alone(access: Access) -> None:
    request = signed(access, "AKIAHUBDEMO", "demo-secret")
    demo = access.make_gate(demo=True)
    assert (await let_in(door_of(demo, access), request)).tenant == "demo"
    assert await refused(door_of(access.gate, access), request) is Refusal.UNKNOWN_KEY


async def test_a_proxy_may_rewrite_the_host_where_the_public_url_is_known(access: Access) -> None:
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    request = signed(access, key.id, secret)
    request["headers"] = [(name, b"10.0.0.1:8080" if name == b"host" else value) for name, value in request["headers"]]
    assert await refused(door_of(access.gate, access), request) is Refusal.WRONG
    assert (await let_in(door_of(access.gate, access, "http://hub.test:8080"), request)).subject == "key:crm"
    assert await refused(door_of(access.gate, access, "http://evil.test"), request) is Refusal.WRONG


async def test_a_proxy_may_take_the_path_of_the_public_url_away(access: Access) -> None:
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    request = signed(access, key.id, secret, url=URL.replace("/attached-files", "/behind/it/attached-files"))
    request |= {name: request[name].replace(*old) for name, old in (("path", ("/behind/it", "")), ("raw_path", (b"/behind/it", b"")))}
    assert await refused(door_of(access.gate, access, "http://hub.test:8080"), request) is Refusal.WRONG
    assert (await let_in(door_of(access.gate, access, "http://hub.test:8080/behind/it"), request)).subject == "key:crm"
    assert await refused(door_of(access.gate, access, "http://hub.test:8080/behind"), request) is Refusal.WRONG


async def test_an_unknown_key_and_a_late_request_are_refused_without_the_body(access: Access) -> None:
    door = door_of(access.gate, access)
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    request = signed(access, key.id, secret)
    access.clock.advance(901)
    await access.gate.refresh()
    for each in (request, signed(access, new_access_key_id(), secret)):
        with pytest.raises(SignatureError):
            await door.claimed(each, "connect")


async def test_a_replay_within_fifteen_minutes_is_taken(access: Access) -> None:
    door = door_of(access.gate, access)
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    request = signed(access, key.id, secret)
    access.clock.advance(899)
    await access.gate.refresh()
    for _ in range(2):
        assert (await let_in(door, request)).subject == "key:crm"


async def test_two_headers_are_refused_whatever_they_are(access: Access) -> None:
    door = door_of(access.gate, access)
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    for more in ((b"authorization", b"Bearer x"), (b"authorization", b"AWS4-HMAC-SHA256 x")):
        request = signed(access, key.id, secret)
        for headers in ([*request["headers"], more], [more, *request["headers"]]):
            assert is_signed({"headers": headers})
            assert await refused(door, {**request, "headers": headers}) is Refusal.INCOMPLETE


async def test_a_head_is_signed_as_such(access: Access) -> None:
    door = door_of(access.gate, access)
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    request = {**signed(access, key.id, secret, method="HEAD"), "method": "GET", "hub.method": "HEAD"}
    assert (await let_in(door, request)).subject == "key:crm"


@pytest.mark.parametrize("path", ["/x", "/statistics/v3/subscriptions"])
async def test_elsewhere_a_signature_is_no_credential(access: Access, path: str) -> None:
    key, secret = await keys_of(access).add("acme", "crm", ["viewer"])
    request = signed(access, key.id, secret, url=f"http://hub.test:8080{path}")
    assert (await access.gate.identify(request)).principal is None
