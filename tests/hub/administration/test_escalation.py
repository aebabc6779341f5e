"""Nobody gives more than they have: not by roles, not by their definition, not through others, not by tokens that are limited."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.principal import Action
from hub.security.delegation import beyond_of
from hub.security.roles import Grant, parse_grant
from tests.hub.administration.conftest import CALLS, Office
from tests.hub.administration.tokens import limited_token

READ = {"action": "call", "within": ["/statistics/read"]}
HEAR = {"action": "subscribe", "within": ["/a/**"], "without": ["/a/secret/**"]}


@pytest.fixture
async def bob(office_both: Office) -> str:
    """Somebody who may administer, read statistics, and hear /a/** without /a/secret/**."""
    return await office_both.limited("helper", CALLS, READ, HEAR)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {"name": "eve", "password": "correct horse", "roles": ["admin"]}),
        ("POST", "/users", {"name": "eve", "password": "correct horse", "roles": ["helper", "supervisor"]}),
        ("POST", "/keys", {"name": "eve", "roles": ["producer"]}),
        ("POST", "/tokens", {"subject": "eve", "roles": ["admin"]}),
        ("POST", "/tokens", {"subject": "root"}),
        ("POST", "/tokens", {"subject": "root", "roles": ["helper"]}),
        ("POST", "/clients", {"id": "eve", "grants": ["client_credentials"], "roles": ["admin"]}),
        ("POST", "/clients", {"id": "eve", "redirectUris": ["https://eve.example/cb"], "public": True}),
        ("POST", "/clients", {"id": "eve", "redirectUris": ["https://eve.example/cb"], "public": True, "roles": ["admin"]}),
        ("PUT", "/roles/eve", {"grants": [{"action": "call", "within": ["/**"]}]}),
        ("PUT", "/roles/eve", {"grants": [{"action": "call", "within": ["/users/*"]}, {"action": "call", "within": ["/endpoints/write"]}]}),
        ("PUT", "/roles/eve", {"grants": [{"action": "subscribe", "within": ["/**"]}]}),
        ("PUT", "/roles/eve", {"grants": [{"action": "subscribe", "within": ["/a/**"]}]}),
        ("PUT", "/roles/eve", {"grants": [{"action": "subscribe", "within": ["/a/secret/x"]}]}),
        ("PUT", "/roles/eve", {"grants": [{"action": "publish", "within": ["/a/x"]}]}),
        ("PUT", "/roles/helper", {"grants": [CALLS, READ, HEAR, {"action": "call", "within": ["/admin/write"]}]}),
        ("PUT", "/roles/big", {"grants": [READ]}),
        ("DELETE", "/roles/big", None),
        ("PUT", "/roles/no-publish", {"grants": [READ]}),
        ("PATCH", "/users/root", {"password": "correct horse"}),
        ("PATCH", "/users/root", {"roles": ["helper"]}),
        ("PATCH", "/users/root", {"disabled": True}),
        ("DELETE", "/users/root", None),
        ("PATCH", "/users/held", {"roles": ["helper"]}),
        ("DELETE", "/keys/root", None),
        ("DELETE", "/tokens/{root}", None),
        ("PATCH", "/clients/root", {"redirectUris": ["https://eve.example/cb"]}),
        ("POST", "/clients/root/secrets", None),
        ("DELETE", "/clients/root", None),
        ("PATCH", "/clients/own", {"roles": ["admin"]}),
        ("PATCH", "/clients/own", {"roles": None}),
    ],
)
async def test_whoever_may_administer_gives_and_touches_no_more_than_they_have(
    office_both: Office, bob: str, method: str, path: str, body: Any
) -> None:
    call, root = office_both.done, await office_both.access.token("root's own", "admin")
    await call(root, "PUT", "/roles/big", {"grants": [{"action": "call", "within": ["/**"]}]})
    await call(root, "PUT", "/roles/no-publish", {"grants": [{"action": "publish", "within": ["/b/**"], "deny": True}]})
    await call(root, "POST", "/users", {"name": "root", "password": "correct horse", "roles": ["admin"]})
    await call(root, "POST", "/users", {"name": "held", "password": "correct horse", "roles": ["helper", "no-publish"]})
    await call(root, "POST", "/keys", {"name": "root", "roles": ["admin"]})
    token = await call(root, "POST", "/tokens", {"subject": "root"})
    await call(root, "POST", "/clients", {"id": "root", "grants": ["client_credentials"], "roles": ["admin"]})
    await call(root, "POST", "/clients", {"id": "own", "public": True, "redirectUris": ["https://own.example/cb"], "roles": ["helper"]})
    before = await office_both.told()
    status, text = await office_both.refused(bob, method, path.format(root=token["id"]), body)
    assert (status, "you have it not, or not whole" in text) == (403, True), text
    assert await office_both.told() == before
    await call(root, method, path.format(root=token["id"]), body)  # it is about the caller, not about the call


async def test_they_give_what_they_have(office_both: Office, bob: str) -> None:
    call = office_both.done
    less = {"action": "subscribe", "within": ["/a/**"], "without": ["/a/secret/**", "/a/x"]}
    await call(bob, "PUT", "/roles/less", {"grants": [READ, less, {"action": "call", "within": ["/users/read"]}]})
    await call(
        bob,
        "PUT",
        "/roles/denied",
        {"grants": [{"action": "subscribe", "within": ["/a/**"]}, {**HEAR, "within": ["/a/secret/**"], "without": [], "deny": True}]},
    )
    await call(bob, "POST", "/users", {"name": "eve", "password": "correct horse", "roles": ["less", "helper"]})
    await call(bob, "PATCH", "/users/eve", {"roles": ["less"], "password": "another horse"})
    await call(bob, "POST", "/keys", {"name": "eve", "roles": ["less"]})
    await call(bob, "POST", "/tokens", {"subject": "eve"})
    await call(bob, "POST", "/clients", {"id": "eve", "grants": ["client_credentials"], "roles": ["less"]})
    await call(bob, "DELETE", "/users/eve")


async def test_a_denial_of_ones_own_is_not_handed_out_around(office_both: Office) -> None:
    eve = await office_both.limited(
        "most", CALLS, {"action": "call", "within": ["/**"]}, {"action": "call", "within": ["/admin/*"], "deny": True}
    )
    assert (await office_both.refused(eve, "PUT", "/roles/all", {"grants": [{"action": "call", "within": ["/**"]}]}))[0] == 403
    assert (await office_both.refused(eve, "PUT", "/roles/all", {"grants": [{"action": "call", "within": ["/admin/read"]}]}))[0] == 403
    without = {"action": "call", "within": ["/**"], "without": ["/admin/*"]}
    denied = [{"action": "call", "within": ["/**"]}, {"action": "call", "within": ["/admin/**"], "deny": True}]
    await office_both.done(eve, "PUT", "/roles/all", {"grants": [without]})
    await office_both.done(eve, "PUT", "/roles/all", {"grants": denied})
    assert (await office_both.refused(eve, "PUT", "/roles/all", {"grants": [{"action": "call", "within": ["/**"]}]}))[0] == 403


async def test_a_token_that_is_limited_to_a_scope_gives_no_more_than_the_scope(office_both: Office) -> None:
    """The scope allows administering and reading statistics; the user of the token is an administrator."""
    access = office_both.access
    user = await access.store.add_user("acme", "root", "correct horse", ["admin"])
    token = await limited_token(access, user.id, "people")
    await office_both.done(await access.token("boss", "admin"), "PUT", "/roles/reading", {"grants": [READ]})
    await office_both.done(token, "POST", "/keys", {"name": "reader", "roles": ["reading"]})
    for roles in (["admin"], ["producer"], ["supervisor"]):
        status, text = await office_both.refused(token, "POST", "/keys", {"name": "more", "roles": roles})
        assert (status, "not whole" in text) == (403, True)
    assert (await office_both.refused(token, "PATCH", "/users/root", {"password": "another horse"}))[0] == 403
    assert (await office_both.refused(token, "POST", "/tokens", {"subject": "root"}))[0] == 403
    assert (await office_both.refused(token, "GET", "/clients"))[0] == 403


async def test_the_channels_of_ones_own_subject_are_not_those_of_others(office_both: Office) -> None:
    own = {"action": "subscribe", "within": ["/agents/{subject}/**"]}
    helper = await office_both.limited("own", CALLS, own)
    assert (await office_both.refused(helper, "POST", "/keys", {"name": "eve", "roles": ["own"]}))[0] == 403
    assert (await office_both.refused(helper, "PUT", "/roles/eve", {"grants": [own]}))[0] == 403
    head = await office_both.limited("all", CALLS, {"action": "subscribe", "within": ["/agents/**"]})
    await office_both.done(head, "POST", "/keys", {"name": "eve", "roles": ["own"]})


def grant(action: str, *within: str, without: tuple[str, ...] = (), deny: bool = False) -> Grant:
    return parse_grant({"action": action, "within": list(within), "without": list(without), "deny": deny})


@pytest.mark.parametrize(
    ("given", "mine", "beyond"),
    [
        ([], [], None),
        ([grant("call", "/a/b")], [], (Action.CALL, "/a/b")),
        ([grant("call", "/a/b")], [grant("call", "/a/*")], None),
        ([grant("call", "/a/*")], [grant("call", "/a/b")], (Action.CALL, "/a/*")),
        ([grant("call", "/a/**")], [grant("call", "/a/*")], (Action.CALL, "/a/**")),
        ([grant("call", "/a/b")], [grant("publish", "/**")], (Action.CALL, "/a/b")),
        ([grant("call", "/a/b", deny=True)], [], None),
        ([grant("call", "/**")], [grant("call", "/**"), grant("call", "/x", deny=True)], (Action.CALL, "/**")),
        ([grant("call", "/**", without=("/x",))], [grant("call", "/**"), grant("call", "/x", deny=True)], None),
        ([grant("call", "/y")], [grant("call", "/**"), grant("call", "/x", deny=True)], None),
        ([grant("call", "/**", without=("/x/y",))], [grant("call", "/**", without=("/x/*",))], (Action.CALL, "/**")),
        ([grant("call", "/**"), grant("call", "/x/*", deny=True)], [grant("call", "/**", without=("/x/*",))], None),
        (
            [grant("call", "/**"), grant("call", "/x/*", without=("/x/y",), deny=True)],
            [grant("call", "/**", without=("/x/*",))],
            (Action.CALL, "/**"),
        ),
        ([grant("call", "/x/y", "/z")], [grant("call", "/x/*"), grant("call", "/z")], None),
        ([grant("subscribe", "/agents/{subject}/**")], [grant("subscribe", "/agents/ana/**")], (Action.SUBSCRIBE, "/agents/{subject}/**")),
        ([grant("subscribe", "/agents/{subject}/**")], [grant("subscribe", "/agents/**")], None),
        (
            [grant("subscribe", "/a/**", without=("/a/{subject}",))],
            [grant("subscribe", "/a/**", without=("/a/ana",))],
            (Action.SUBSCRIBE, "/a/**"),
        ),
    ],
)
def test_what_is_beyond(given: list[Grant], mine: list[Grant], beyond: object) -> None:
    assert beyond_of(tuple(given), tuple(mine)) == beyond
