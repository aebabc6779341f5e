"""What administrators do by REST: each kind of thing from beginning to end, pages, bounds, two tenants, the audit log."""

from __future__ import annotations

from typing import Any

import pytest

from hub.storage.database import Database
from tests.hub.administration.conftest import CALLS, Office, make_office
from tests.support.cheap_secrets import cost_of
from tests.world import ManualClock

USER = {"name": "ana", "password": "correct horse", "roles": ["supervisor"]}
CLIENT = {"id": "wall", "public": True, "redirectUris": ["https://wall.example.com/cb"], "roles": ["viewer"]}
GRANT = {"action": "subscribe", "within": ["/a/**"]}
CALL = {"action": "call", "within": ["/statistics/*"]}
ROLE = {"grants": [GRANT]}


async def test_a_user_from_beginning_to_end(office_both: Office) -> None:
    call, admin = office_both.done, await office_both.access.token("boss", "admin")
    made = await call(admin, "POST", "/users", {**USER, "givenName": "Ana", "email": "ana@example.com"})
    assert (made["roles"], made["email"], made["disabled"], "password" in made) == (["supervisor"], "ana@example.com", False, False)
    assert await call(admin, "GET", "/users/ana") == made
    changed = await call(admin, "PATCH", "/users/ana", {"roles": ["viewer"], "email": ""})
    assert (changed["roles"], changed["email"], changed["givenName"]) == (["viewer"], None, "Ana")
    token = (await call(admin, "POST", "/tokens", {"subject": "ana"}))["secret"]
    assert await office_both.knows(token)
    assert (await call(admin, "PATCH", "/users/ana", {"disabled": True}))["disabled"] is True
    assert not await office_both.knows(token)
    await call(admin, "DELETE", "/users/ana")
    assert await call(admin, "GET", "/users") == {"users": []}


async def test_a_password_is_hashed_as_the_gate_checks_it(office: Office) -> None:
    await office.done(await office.access.token("boss", "admin"), "POST", "/users", USER)
    ((stored,),) = await office.access.transactions.read(lambda tx: tx.rows("SELECT password_hash FROM users"))
    assert cost_of(stored) == cost_of(office.access.gate.passwords.nobody)
    assert await office.access.gate.passwords.verify(USER["password"], stored)


async def test_a_key_a_token_and_a_role_from_beginning_to_end(office_both: Office) -> None:
    call, admin = office_both.done, await office_both.access.token("boss", "admin")
    assert (await call(admin, "PUT", "/roles/reader", ROLE))["grants"] == [{"action": "subscribe", "within": ["/a/**"], "without": []}]
    other = {"grants": [{"action": "call", "within": ["/statistics/read"]}]}
    assert (await call(admin, "PUT", "/roles/reader", other)) == await call(admin, "GET", "/roles/reader")
    key = await call(admin, "POST", "/keys", {"name": "switch", "roles": ["reader"]})
    token = await call(admin, "POST", "/tokens", {"subject": "wallboard", "roles": ["reader"], "expiresMs": 2_000_000_000_000})
    assert key["secret"].startswith("hubk_")
    assert token["secret"].startswith("hubt_")
    assert await call(admin, "GET", "/keys/switch") == {name: value for name, value in key.items() if name != "secret"}
    assert await call(admin, "GET", f"/tokens/{token['id']}") == {name: value for name, value in token.items() if name != "secret"}
    assert await office_both.refused(admin, "DELETE", "/roles/reader") == (
        409,
        f"role: reader is still that of key switch, token {token['id']}; to change what it allows: hub role change reader",
    )
    await call(admin, "DELETE", "/keys/switch")
    await call(admin, "DELETE", f"/tokens/{token['id']}")
    assert not await office_both.knows(token["secret"])
    await call(admin, "DELETE", "/roles/reader")
    roles = await call(admin, "GET", "/roles")
    assert (roles["roles"], {"name": "producer"}.items() <= roles["builtIn"][-2].items()) == ([], True)


async def test_an_access_key_from_beginning_to_end(office_both: Office) -> None:
    call, admin = office_both.done, await office_both.access.token("boss", "admin")
    key = await call(admin, "POST", "/keys", {"name": "crm/eu", "roles": ["viewer"], "aws": True})
    assert (len(key["accessKeyId"]), len(key["secret"]), key["generation"], key["rotatedMs"]) == (20, 40, 1, None)
    await call(admin, "POST", "/keys", {"name": "switch", "roles": ["viewer"]})
    shown = {name: value for name, value in key.items() if name != "secret"}
    assert await call(admin, "GET", "/keys/crm/eu") == shown
    listed = (await call(admin, "GET", "/keys"))["keys"]
    assert (listed[0], listed[1].keys()) == (shown, {"name", "roles", "createdMs"})
    assert (await call(admin, "GET", "/keys?cursor=crm/eu"))["keys"] == listed[1:]
    rotated = await call(admin, "POST", "/keys/crm/eu/rotate")
    assert (rotated["accessKeyId"], rotated["generation"]) == (key["accessKeyId"], 2)
    assert rotated["secret"] != key["secret"]
    status, why = await office_both.refused(admin, "POST", "/keys/switch/rotate")
    assert (status, why) == (400, "name: expected an access key, got 'switch', which is an API key: add another one, then remove this")
    assert (await office_both.refused(admin, "POST", "/keys/nobody/rotate"))[0] == 404
    assert (await office_both.refused(admin, "POST", "/keys", {"name": "crm/eu", "roles": ["viewer"]}))[0] == 409
    await call(admin, "DELETE", "/keys/crm/eu")
    assert (await office_both.refused(admin, "GET", "/keys/crm/eu"))[0] == 404
    events = [event for event, _, target in await office_both.told() if target == "key:crm/eu"]
    assert events == ["key.added", "key.rotated", "key.removed"]


async def test_nobody_rotates_a_key_that_may_do_more_than_they(office: Office) -> None:
    admin = await office.access.token("boss", "admin")
    clerk = await office.limited("clerk", CALLS)
    await office.done(admin, "POST", "/keys", {"name": "crm", "roles": ["admin"], "aws": True})
    assert (await office.refused(clerk, "POST", "/keys/crm/rotate"))[0] == 403
    assert (await office.refused(clerk, "POST", "/keys", {"name": "own", "roles": ["admin"], "aws": True}))[0] == 403
    assert (await office.refused(await office.access.token("boss", "admin", "rival"), "POST", "/keys/crm/rotate"))[0] == 404


async def test_a_built_in_role_is_shown_as_the_list_has_it(office: Office) -> None:
    admin = await office.access.token("boss", "admin")
    shown = await office.done(admin, "GET", "/roles/admin")
    assert (shown["name"], shown["builtIn"]) == ("admin", True)
    assert shown["grants"][0] == {"action": "subscribe", "within": ["/**"], "without": []}
    assert shown in (await office.done(admin, "GET", "/roles"))["builtIn"]


async def test_a_role_of_the_command_line_can_be_put_again(office: Office) -> None:
    admin = await office.access.token("boss", "admin")
    denials = [{"action": action, "within": ["/my/things/**"], "deny": True} for action in ("subscribe", "publish", "call")]
    await office.limited("own", *denials, CALL)
    shown = await office.done(admin, "GET", "/roles/own")
    assert await office.done(admin, "PUT", "/roles/own", {"grants": shown["grants"]}) == shown


async def test_a_client_from_beginning_to_end(office_both: Office) -> None:
    call, admin = office_both.done, await office_both.access.token("boss", "admin")
    night = await call(admin, "POST", "/clients", {"id": "night", "grants": ["client_credentials"], "roles": ["viewer"]})
    assert night["secret"].startswith("hubc_")
    second = await call(admin, "POST", "/clients/night/secrets")
    assert (second["secrets"], second["secret"] != night["secret"]) == (2, True)
    assert (await office_both.refused(admin, "POST", "/clients/night/secrets"))[0] == 400
    assert (await call(admin, "DELETE", "/clients/night/secrets/old"))["secrets"] == 1
    made = await call(admin, "POST", "/clients", {**CLIENT, "roles": None})
    assert (made["roles"], made["pkce"], "secret" in made) == (None, True, False)
    change = {"name": "Wall", "roles": ["viewer"], "redirectUris": ["https://b.example/cb"], "accessSeconds": 600}
    changed = await call(admin, "PATCH", "/clients/wall", change)
    assert {name: changed[name] for name in change} == change
    assert changed == await call(admin, "GET", "/clients/wall")
    assert (await call(admin, "PATCH", "/clients/wall", {"roles": None}))["roles"] is None
    assert (await office_both.refused(admin, "PATCH", "/clients/wall", {"redirectUris": []}))[0] == 400
    await call(admin, "DELETE", "/clients/wall")
    assert [each["id"] for each in (await call(admin, "GET", "/clients"))["clients"]] == ["night"]


async def test_lists_come_in_pages_that_nothing_moves(office_both: Office) -> None:
    admin = await office_both.access.token("boss", "admin")
    for name in ("e", "a", "c", "b", "d"):
        await office_both.access.key(name)
    await office_both.access.key("x", tenant="rival")
    first = await office_both.done(admin, "GET", "/keys?limit=2")
    assert ([key["name"] for key in first["keys"]], first["cursor"]) == (["a", "b"], "b")
    await office_both.access.store.remove_key("acme", "a")
    second = await office_both.done(admin, "GET", f"/keys?limit=2&cursor={first['cursor']}")
    last = await office_both.done(admin, "GET", f"/keys?limit=2&cursor={second['cursor']}")
    assert [key["name"] for key in (*second["keys"], *last["keys"])] == ["c", "d", "e"]
    assert "cursor" not in last


async def test_nobody_sees_or_touches_another_tenant(office_both: Office) -> None:
    call, admin, rival = (
        office_both.done,
        await office_both.access.token("boss", "admin"),
        await office_both.access.token("boss", "admin", "rival"),
    )
    await call(admin, "POST", "/users", USER)
    await call(admin, "POST", "/clients", CLIENT)
    await call(admin, "POST", "/keys", {"name": "switch", "roles": ["producer"]})
    token = await call(admin, "POST", "/tokens", {"subject": "w", "roles": ["viewer"]})
    await call(admin, "PUT", "/roles/reader", ROLE)
    for path in ("/users", "/clients", "/keys", "/roles"):
        assert not any(entries for kind, entries in (await call(rival, "GET", path)).items() if kind != "builtIn")
    assert [each["subject"] for each in (await call(rival, "GET", "/tokens"))["tokens"]] == ["boss"]
    for method, path, body in (
        ("GET", "/users/ana", None),
        ("PATCH", "/users/ana", {"roles": ["viewer"]}),
        ("DELETE", "/users/ana", None),
        ("GET", "/clients/wall", None),
        ("PATCH", "/clients/wall", {"name": "x"}),
        ("POST", "/clients/wall/secrets", None),
        ("DELETE", "/clients/wall/secrets/old", None),
        ("DELETE", "/clients/wall", None),
        ("GET", "/keys/switch", None),
        ("DELETE", "/keys/switch", None),
        ("GET", f"/tokens/{token['id']}", None),
        ("DELETE", f"/tokens/{token['id']}", None),
        ("GET", "/roles/reader", None),
        ("DELETE", "/roles/reader", None),
    ):
        status, text = await office_both.refused(rival, method, path, body)
        assert (status, "acme" in text, "there are: w" in text) == (404, False, False), (method, path, text)
    assert (await office_both.refused(rival, "POST", "/keys", {"name": "k", "roles": ["reader"]}))[0] == 400
    assert {row["tenant"] for row in (await call(rival, "GET", "/audit"))["rows"]} == {"rival"}


async def test_every_change_is_told_under_the_callers_name(office_both: Office) -> None:
    admin = await office_both.access.token("boss", "admin")
    await office_both.done(admin, "POST", "/users", USER)
    await office_both.done(admin, "PUT", "/roles/reader", ROLE)
    await office_both.done(admin, "PUT", "/roles/reader", ROLE)
    await office_both.refused(admin, "DELETE", "/users/nobody")
    person = office_both.access.audit.person
    assert await office_both.told() == [
        ("user.added", person("acme", "boss"), person("acme", "ana")),
        ("role.added", person("acme", "boss"), "role:reader"),
    ]
    rows = (await office_both.done(admin, "GET", "/audit?event=user.added&person=ana"))["rows"]
    assert [(row["event"], row["after"]) for row in rows] == [("user.added", {"roles": ["supervisor"], "disabled": False})]
    first = await office_both.done(admin, "GET", "/audit?limit=1")
    rest = await office_both.done(admin, "GET", f"/audit?cursor={first['cursor']}")
    numbers = [row["number"] for row in (*first["rows"], *rest["rows"])]
    assert numbers == sorted(numbers, reverse=True)
    assert (await office_both.refused(admin, "GET", "/audit?cursor=x"))[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/users", {**USER, "password": "short"}, 400, "password: expected 8-1024 characters, got 5"),
        ("POST", "/users", {**USER, "roles": []}, 400, "roles: expected at least one"),
        ("POST", "/users", {**USER, "roles": ["boss"]}, 400, "roles: no role 'boss'"),
        ("POST", "/users", {**USER, "email": "nobody"}, 400, "email: expected an address"),
        ("POST", "/users", {**USER, "admin": True}, 400, "admin: expected no field of this name; there are "),
        ("POST", "/users", {**USER, "passwd": "long enough"}, 400, "passwd: expected no field of this name; did you mean password?"),
        ("POST", "/users", {**USER, "name": "key:switch"}, 400, "does not begin with 'key:'"),
        ("POST", "/users", {**USER, "name": "there"}, 409, "user: expected a new name"),
        ("PATCH", "/users/nobody", {"roles": ["viewer"]}, 404, "user: no user 'nobody'"),
        ("PUT", "/roles/admin", ROLE, 409, "which is built in"),
        ("DELETE", "/roles/admin", None, 409, "got 'admin', which is built in"),
        (
            *("PUT", "/roles/x", {"grants": [GRANT, {"action": "call", "within": ["/a/b", "no path"]}]}, 400),
            "grants.1.within.1: expected a channel, an operation, or a pattern of them (a channel is /segment",
        ),
        (
            *("PUT", "/roles/x", {"grants": [{"action": "call", "within": ["/statistics/reed"]}]}, 400),
            "grants.0.within: expected an operation, or a pattern that matches one, got /statistics/reed; did you mean /statistics/read?",
        ),
        (
            *("PUT", "/roles/x", {"grants": [{**CALL, "without": ["/statistics/reed"]}]}, 400),
            "grants.0.without: expected an operation, or a pattern that matches one, got /statistics/reed; did you mean /statistics/read?",
        ),
        (
            *("PUT", "/roles/x", {"grants": [GRANT, {**CALL, "within": ["/statistics/reed"], "deny": True}]}, 400),
            "grants.1.within: expected a channel, an operation, or a pattern of them, got /statistics/reed; did you mean /statistics/read?",
        ),
        (
            *("POST", "/tokens", {"subject": "w", "roles": ["viewer"], "expiresMs": 1}, 400),
            "expiresMs: expected a time to come, in ms since 1970 UTC, got 1, which has passed",
        ),
        ("POST", "/clients", {**CLIENT, "redirectUris": ["http://a.example/cb"]}, 400, "redirectUris: expected https"),
        ("POST", "/clients", {**CLIENT, "grants": ["implicit"]}, 400, "grants: expected some of"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words(office: Office, method: str, path: str, body: Any, status: int, said: str) -> None:
    admin = await office.access.token("boss", "admin")
    await office.done(admin, "POST", "/users", {**USER, "name": "there"})
    answer = await office.refused(admin, method, path, body)
    assert (answer[0], said in answer[1]) == (status, True), answer


@pytest.mark.parametrize("pattern", ["/statistics/**", "/meta/x"])
async def test_no_role_publishes_where_the_server_alone_does(office: Office, pattern: str) -> None:
    admin = await office.access.token("boss", "admin")
    grant = {"action": "publish", "within": ["/free/**", pattern]}
    status, said = await office.refused(admin, "PUT", "/roles/x", {"grants": [GRANT, grant]})
    assert (status, said.startswith("grants.1.within: expected a channel where others than the server may publish, got ")) == (400, True)
    assert pattern in said
    await office.done(admin, "PUT", "/roles/x", {"grants": [{**grant, "deny": True}]})


async def test_what_is_not_there_or_in_the_way_is_named_as_a_field(office: Office) -> None:
    admin = await office.access.token("boss", "admin")
    await office.done(admin, "POST", "/users", {**USER, "name": "there"})
    for method, path, body, status, field in (
        ("GET", "/users/nobody", None, 404, "name"),
        ("DELETE", "/roles/none", None, 404, "name"),
        ("DELETE", "/clients/none", None, 404, "id"),
        ("POST", "/users", {**USER, "name": "there"}, 409, "name"),
        ("DELETE", "/roles/admin", None, 409, "name"),
    ):
        told = (await office.call(admin, method, path, body)).json()["status"]
        assert (told["code"], told["detail"]) == (status, {"field": field}), told


async def test_a_refused_field_is_named_as_in_the_body(office: Office) -> None:
    admin = await office.access.token("boss", "admin")
    for path, body, field in (
        ("/users", {**USER, "email": "nobody"}, "email"),
        ("/users", {**USER, "givenName": " a"}, "givenName"),
        ("/users", {**USER, "roles": ["supervizor"]}, "roles"),
        ("/users", {**USER, "name": "key:switch"}, "name"),
        ("/tokens", {"subject": "w", "roles": ["viewer"], "expiresMs": 300_000}, "expiresMs"),
        ("/clients", {**CLIENT, "redirectUris": ["http://a.example/cb"]}, "redirectUris"),
        ("/clients", {**CLIENT, "frameOrigins": ["a"]}, "frameOrigins"),
        ("/clients", {**CLIENT, "id": "-"}, "id"),
    ):
        status = (await office.call(admin, "POST", path, body)).json()["status"]
        assert (status["code"], status["detail"]["field"], status["message"].startswith(f"{field}: ")) == (400, field, True), status
    told = (await office.call(admin, "POST", "/users", {**USER, "email": "nobody"})).json()["status"]["detail"]
    assert told == {"field": "email", "expected": "an address such as ana@example.com", "got": "'nobody'"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/users", "GET, POST"), ("PUT", "/users/ana", "DELETE, GET, PATCH"), ("POST", "/roles/x", "DELETE, GET, PUT")],
)
async def test_all_methods_of_a_path_are_told(office: Office, method: str, path: str, allowed: str) -> None:
    admin = await office.access.token("boss", "admin")
    answer = await office.call(admin, method, path, {})
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["status"]["message"] == f"expected {allowed}, got {method}"


async def test_a_tenant_has_no_more_than_it_may_have(light_database: Database, clock: ManualClock) -> None:
    bounds = {"max_users": 1, "max_clients": 1, "max_api_keys": 1, "max_access_keys": 1, "max_tokens": 2, "max_roles": 1}
    async for office in make_office(light_database, clock, **bounds):
        admin = await office.access.token("boss", "admin")
        rival = await office.access.token("boss", "admin", "rival")
        for method, path, body, again in (
            ("POST", "/users", USER, {**USER, "name": "bob"}),
            ("POST", "/clients", CLIENT, {**CLIENT, "id": "other"}),
            ("POST", "/keys", {"name": "a", "roles": ["viewer"]}, {"name": "b", "roles": ["viewer"]}),
            ("POST", "/keys", {"name": "c", "roles": ["viewer"], "aws": True}, {"name": "d", "roles": ["viewer"], "aws": True}),
            ("POST", "/tokens", {"subject": "a", "roles": ["viewer"]}, {"subject": "b", "roles": ["viewer"]}),
        ):
            await office.done(admin, method, path, body)
            status, text = await office.refused(admin, method, path, again)
            assert (status, "of a tenant (administration.max_" in text) == (409, True), text
            await office.done(rival, method, path, again)
        await office.done(admin, "PUT", "/roles/a", ROLE)
        assert (await office.refused(admin, "PUT", "/roles/b", ROLE))[0] == 409
        await office.done(admin, "PUT", "/roles/a", ROLE)


async def test_the_clients_of_a_tenant_have_so_many_origins_together(light_database: Database, clock: ManualClock) -> None:
    async for office in make_office(light_database, clock, max_origins=3):
        admin = await office.access.token("boss", "admin")
        rival = await office.access.token("boss", "admin", "rival")
        one, two, three, four = (f"https://{number}.example" for number in range(4))
        await office.done(admin, "POST", "/clients", {**CLIENT, "origins": [one, two]})
        status, text = await office.refused(admin, "POST", "/clients", {**CLIENT, "id": "other", "origins": [three, four]})
        assert (status, "administration.max_origins" in text) == (409, True), text
        await office.done(rival, "POST", "/clients", {**CLIENT, "id": "rivals", "origins": [one, two, three]})
        await office.done(admin, "POST", "/clients", {**CLIENT, "id": "other", "origins": [three]})
        assert (await office.refused(admin, "PATCH", "/clients/other", {"origins": [three, four]}))[0] == 409
        await office.done(admin, "PATCH", "/clients/other", {"origins": [four]})
        await office.done(admin, "PATCH", "/clients/wall", {"origins": [one], "name": "The wall"})
        await office.done(admin, "PATCH", "/clients/other", {"origins": [three, four]})


async def test_a_tenant_that_changes_too_much_waits(light_database: Database, clock: ManualClock) -> None:
    async for office in make_office(light_database, clock, changes_per_s=2):
        admin = await office.access.token("boss", "admin")
        answers = [(await office.call(admin, "PUT", f"/roles/r{number}", ROLE)).status_code for number in range(3)]
        assert answers == [200, 200, 429]
        rival = await office.access.token("boss", "admin", "rival")
        assert (await office.call(rival, "PUT", "/roles/r", ROLE)).status_code == 200
        clock.advance(2)
        assert (await office.call(admin, "PUT", "/roles/r2", ROLE)).status_code == 200
        assert office.service.counters.too_many == 1


async def test_a_body_is_read_of_callers_who_may_alone(office: Office) -> None:
    viewer = await office.access.token("eve", "viewer")
    for method, path in (("POST", "/users"), ("PUT", "/roles/x"), ("POST", "/clients"), ("POST", "/keys"), ("POST", "/tokens")):
        answer = await office.refused(viewer, method, path, {"this": "is no body"})
        assert (answer[0], "may not" in answer[1]) == (403, True)
