"""Who calls: every form of credential, good and bad, and what happens when one goes."""

import pytest

from hub.core.limits import Limits
from hub.core.principal import Action, Principal, login_key
from hub.security import directory
from hub.security.credentials import MAX_SECRET_LENGTH, hash_secret
from hub.security.gate import Failure
from hub.security.roles import Grant
from tests.hub.security.conftest import Access, bearer, failure, may, principal_of, scope


async def test_a_bearer_token_yields_its_principal(access_both: Access) -> None:
    token = await access_both.token("ana", "supervisor")
    caller = await access_both.gate.identify(scope("/x", bearer(token)))
    own = login_key("acme", "ana", f"token:{hash_secret(token)}")
    row = (await access_both.store.tokens())[0]
    assert caller.principal == Principal("acme", "ana", frozenset({"supervisor"}), own, own, credential=f"token:{row.id}")
    assert caller.authenticated
    assert not caller.by_cookie


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR", "Bearer ", "OAuth", "oauth", "OAUTH "])
async def test_the_scheme_may_be_in_any_case(access: Access, scheme: str) -> None:
    assert await failure(access.gate, ("Authorization", f"{scheme} {await access.token()}")) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer nope",
        "Bearer é\xff",
        "Bearer a b",
        "OAuth",
        "OAuth nope",
        "OAuth oauth_token=x",
        "OAuth2 nope",
        "Bearer " + "x" * 5000,
    ],
)
async def test_an_authorization_that_is_no_token_is_refused(access: Access, value: str) -> None:
    assert await failure(access.gate, ("Authorization", value)) is Failure.BAD_TOKEN


@pytest.mark.parametrize("value", ["nope", " nope ", "hubt_0123456789", "bearertoken"])
async def test_a_token_without_its_scheme_is_told_apart(access: Access, value: str) -> None:
    """Forgetting `Bearer` is the most usual mistake: the refusal says so, and does not repeat the token."""
    found = await failure(access.gate, ("Authorization", value))
    assert found is Failure.NO_SCHEME
    assert "Authorization: Bearer TOKEN" in found.value
    assert value.strip() not in found.value


async def test_two_authorizations_are_refused(access: Access) -> None:
    token = bearer(await access.token())
    assert await failure(access.gate, token, token) is Failure.BAD_TOKEN


async def test_an_api_key_alone_has_its_own_role(access_both: Access) -> None:
    key = await access_both.key("switch", "producer")
    caller = await access_both.gate.identify(scope("/x", ("X-Api-Key", key)))
    assert caller.principal is not None
    assert (caller.principal.subject, caller.principal.roles) == ("key:switch", frozenset({"producer"}))


@pytest.mark.parametrize("value", ["", "nope", "é", "x" * 5000])
async def test_an_unknown_key_is_refused(access: Access, value: str) -> None:
    assert await failure(access.gate, ("x-api-key", value)) is Failure.UNKNOWN_KEY


async def test_two_keys_are_refused(access: Access) -> None:
    key = ("x-api-key", await access.key())
    assert await failure(access.gate, key, key) is Failure.UNKNOWN_KEY


async def test_a_token_is_no_key_and_a_key_no_token(access: Access) -> None:
    assert await failure(access.gate, ("x-api-key", await access.token())) is Failure.UNKNOWN_KEY
    assert await failure(access.gate, bearer(await access.key())) is Failure.BAD_TOKEN


async def test_beside_a_key_of_its_tenant_a_token_decides(access: Access) -> None:
    caller = await access.gate.identify(scope("/x", bearer(await access.token("ana")), ("x-api-key", await access.key())))
    assert caller.principal is not None
    assert caller.principal.subject == "ana"


async def test_a_key_of_another_tenant_is_refused(access: Access) -> None:
    key = ("x-api-key", await access.key(tenant="rival"))
    assert await failure(access.gate, bearer(await access.token()), key) is Failure.TENANT_MISMATCH


async def test_a_bad_one_of_two_is_refused(access: Access) -> None:
    assert await failure(access.gate, bearer(await access.token()), ("x-api-key", "nope")) is Failure.UNKNOWN_KEY
    assert await failure(access.gate, bearer("nope"), ("x-api-key", await access.key())) is Failure.BAD_TOKEN


async def test_nothing_is_missing(access: Access) -> None:
    assert await failure(access.gate) is Failure.MISSING
    assert await failure(access.gate, ("Cookie", "a=b")) is Failure.MISSING


async def test_the_statistics_cookie_tells_logins_apart_and_lets_nobody_in(access: Access) -> None:
    token = bearer(await access.token())
    with_cookie = await access.gate.identify(scope("/x", token, ("Cookie", "STATISTICS_SESSIONID=abc")))
    without = await access.gate.identify(scope("/x", token))
    assert with_cookie.principal is not None
    assert without.principal is not None
    assert with_cookie.principal.login == login_key("acme", "ana", "abc")
    assert with_cookie.principal.token_login == without.principal.login
    assert await failure(access.gate, ("Cookie", "STATISTICS_SESSIONID=abc")) is Failure.MISSING


async def test_a_statistics_session_may_be_handed_over(access: Access) -> None:
    request = scope("/x", bearer(await access.token()), ("Cookie", "STATISTICS_SESSIONID=abc"))
    caller = await access.gate.identify(request, statistics_session="def")
    assert caller.principal is not None
    assert caller.principal.login == login_key("acme", "ana", "def")


# -- the sign-in cookie -------------------------------------------------------------------------------------------------


async def cookie_of(access: Access, token: str) -> tuple[str, str]:
    credential = await access.gate.directory.by_token(hash_secret(token))
    assert credential is not None
    return ("Cookie", access.gate.sign_in_cookie(credential, secure=False).partition(";")[0])


async def test_the_sign_in_cookie_yields_the_same_login_as_its_token(access: Access) -> None:
    token = await access.token()
    by_cookie = await access.gate.identify(scope("/x", await cookie_of(access, token)))
    by_token = await access.gate.identify(scope("/x", bearer(token)))
    assert by_cookie.principal == by_token.principal
    assert by_cookie.by_cookie


async def test_headers_come_before_the_cookie(access: Access) -> None:
    cookie = await cookie_of(access, await access.token())
    assert await failure(access.gate, cookie, bearer("nope")) is Failure.BAD_TOKEN
    assert await failure(access.gate, cookie, ("x-api-key", "nope")) is Failure.UNKNOWN_KEY


@pytest.mark.parametrize("value", ["x", "a.b.c", "é"])
async def test_a_cookie_that_is_not_ours_is_refused(access: Access, value: str) -> None:
    assert await failure(access.gate, ("Cookie", f"HUB_SESSION={value}")) is Failure.BAD_TOKEN


@pytest.mark.parametrize(
    "front", ['HUB_SESSION="of another hub"', "HUB_SESSION=x; HUB_SESSION=a.b.c", "HUB_SESSION=", 'a="; HUB_SESSION=;']
)
async def test_cookies_in_front_of_the_good_one_are_passed_over(access: Access, front: str) -> None:
    name, good = await cookie_of(access, await access.token())
    assert await failure(access.gate, (name, f"{front}; {good}")) is None
    bare, _, value = good.partition("=")
    assert await failure(access.gate, (name, f'{front}; {bare}="{value}"')) is None
    assert await failure(access.gate, (name, front), (name, good)) is None


async def test_a_cookie_that_has_ended_does_not_hide_the_one_behind_it(access: Access) -> None:
    name, ended = await cookie_of(access, await access.token("ana"))
    _, good = await cookie_of(access, await access.token("bob"))
    await access.store.remove_token("ana")
    await access.gate.refresh()
    caller = await access.gate.identify(scope("/x", (name, f"{ended}; {good}")))
    assert caller.principal is not None
    assert caller.principal.subject == "bob"


async def test_a_cookie_ends_with_its_token(access: Access) -> None:
    cookie = await cookie_of(access, await access.token())
    await access.store.remove_token("ana")
    await access.gate.refresh()
    assert await failure(access.gate, cookie) is Failure.BAD_TOKEN


async def test_a_cookie_runs_out(access: Access) -> None:
    cookie = await cookie_of(access, await access.token())
    access.clock.advance(3600)
    assert await failure(access.gate, cookie) is Failure.BAD_TOKEN


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://hub.test:8080", None),
        ("https://desk.test", None),
        ("https://evil.test", Failure.FOREIGN_ORIGIN),
        ("null", Failure.FOREIGN_ORIGIN),
    ],
)
async def test_a_cookie_from_a_foreign_page_is_refused(access: Access, origin: str, expected: Failure | None) -> None:
    found = access.make_gate(allowed_origins=["https://Desk.test"])
    cookie = await cookie_of(access, await access.token())
    assert await failure(found, cookie, ("Origin", origin)) is expected
    assert await failure(found, bearer(await access.token("bob")), ("Origin", "https://evil.test")) is None


async def test_who_takes_no_cookies_sees_none(access: Access) -> None:
    cookie = await cookie_of(access, await access.token())
    caller = await access.gate.identify(scope("/x", cookie), cookies=False)
    assert caller.failure is Failure.MISSING
    token = bearer(await access.token("bob"))
    caller = await access.gate.identify(scope("/x", token, ("Cookie", "STATISTICS_SESSIONID=abc")), cookies=False)
    assert caller.principal is not None
    assert caller.principal.login == caller.principal.token_login


async def test_a_credential_is_found_again_by_its_principal(access: Access) -> None:
    caller = await access.gate.identify(scope("/x", bearer(await access.token())))
    assert caller.principal is not None
    credential = await access.gate.credential_of(caller.principal)
    assert credential is not None
    assert credential.principal() == caller.principal
    anonymous = access.make_gate(open=True).anonymous()
    assert anonymous is not None
    assert await access.gate.credential_of(anonymous) is None


# -- tickets ------------------------------------------------------------------------------------------------------------


async def ticket_of(access: Access) -> str:
    caller = await access.gate.identify(scope("/x", bearer(await access.token())))
    assert caller.principal is not None
    ticket = await access.gate.issue_ticket(caller.principal)
    assert ticket is not None
    return ticket


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/events"])
async def test_a_ticket_is_taken_once(access: Access, path: str) -> None:
    query = f"channel=/a&ticket={await ticket_of(access)}"
    assert await failure(access.gate, path=path, query=query) is None
    assert await failure(access.gate, path=path, query=query) is Failure.BAD_TICKET


async def test_a_ticket_counts_at_two_endpoints_only(access: Access) -> None:
    query = f"ticket={await ticket_of(access)}"
    for path in ("/x", "/cometd", "/api/v1/me", "/wsx", "/"):
        assert await failure(access.gate, path=path, query=query) is Failure.MISSING
    assert await failure(access.gate, path="/ws", query=query) is None


@pytest.mark.parametrize("query", ["ticket=", "ticket=nope", "ticket=%00%ff", "ticket=nope&ticket=nope"])
async def test_a_bad_ticket_is_refused(access: Access, query: str) -> None:
    assert await failure(access.gate, path="/ws", query=query) is Failure.BAD_TICKET


async def test_a_parameter_that_only_looks_like_a_ticket_is_none(access: Access) -> None:
    assert await failure(access.gate, path="/ws", query="noticket=1") is Failure.MISSING


async def test_headers_come_before_a_ticket(access: Access) -> None:
    query = f"ticket={await ticket_of(access)}"
    assert await failure(access.gate, bearer("nope"), path="/ws", query=query) is Failure.BAD_TOKEN


async def test_a_ticket_keeps_the_login_unless_another_is_named(access: Access) -> None:
    caller = await access.gate.identify(scope("/ws", query=f"ticket={await ticket_of(access)}"))
    assert caller.principal is not None
    ticket = await access.gate.issue_ticket(caller.principal)
    again = await access.gate.identify(scope("/ws", ("Cookie", "STATISTICS_SESSIONID=abc"), query=f"ticket={ticket}"))
    assert again.principal is not None
    assert again.principal.token_login == caller.principal.login
    assert again.principal.login == login_key("acme", "ana", "abc")


async def test_a_stream_is_not_opened_again_beyond_the_end_of_its_credential(access: Access) -> None:
    """Nor in the second in which nobody has heard of the end yet."""
    token = await access.token("ana", expires_ms=access.clock.wall_ms() + 40_000)
    caller = await access.gate.identify(scope("/x", bearer(token)))
    assert caller.principal is not None
    request = scope("/events", query=f"channel=/a&ticket={await access.gate.issue_ticket(caller.principal)}")
    opened = (await access.gate.identify(request)).ticket
    assert opened is not None
    await access.gate.tickets.opened(opened, lambda: None)
    access.clock.advance(39)
    assert (await access.gate.identify(request)).principal == caller.principal
    access.clock.advance(1)
    assert (await access.gate.identify(request)).failure is Failure.BAD_TICKET


async def test_a_ticket_goes_with_its_token(access: Access) -> None:
    ticket = await ticket_of(access)
    await access.store.remove_token("ana")
    await access.gate.refresh()
    assert await failure(access.gate, path="/ws", query=f"ticket={ticket}") is Failure.BAD_TICKET


# -- messages that say who they are from --------------------------------------------------------------------------------


async def test_a_message_may_bring_a_token_or_a_key(access: Access) -> None:
    by_token = await access.gate.from_ext({"token": await access.token(), "more": 1}, statistics_session="abc")
    by_key = await access.gate.from_ext({"apiKey": await access.key()})
    assert by_token.principal is not None
    assert by_key.principal is not None
    assert by_token.principal.login == login_key("acme", "ana", "abc")
    assert by_key.principal.subject == "key:switch"


@pytest.mark.parametrize(
    ("authentication", "expected"),
    [
        (None, Failure.MISSING),
        ({}, Failure.MISSING),
        ({"token": None}, Failure.MISSING),
        ([], Failure.BAD_TOKEN),
        ("demo-token", Failure.BAD_TOKEN),
        (1, Failure.BAD_TOKEN),
        ({"token": ""}, Failure.BAD_TOKEN),
        ({"token": "nope"}, Failure.BAD_TOKEN),
        ({"token": 1}, Failure.BAD_TOKEN),
        ({"token": {"a": 1}}, Failure.BAD_TOKEN),
        ({"token": "\ud800"}, Failure.BAD_TOKEN),
        ({"token": "x" * (MAX_SECRET_LENGTH + 1)}, Failure.BAD_TOKEN),
        ({"apiKey": ""}, Failure.UNKNOWN_KEY),
        ({"apiKey": "nope"}, Failure.UNKNOWN_KEY),
        ({"apiKey": 1}, Failure.UNKNOWN_KEY),
        ({"apiKey": "\ud800"}, Failure.UNKNOWN_KEY),
    ],
)
async def test_a_message_that_brings_nothing_good_is_refused(access: Access, authentication: object, expected: Failure) -> None:
    caller = await access.gate.from_ext(authentication)
    assert (caller.principal, caller.failure) == (None, expected)


async def test_token_and_key_of_a_message_must_be_of_one_tenant(access: Access) -> None:
    token, key = await access.token(), await access.key(tenant="rival")
    assert (await access.gate.from_ext({"token": token, "apiKey": key})).failure is Failure.TENANT_MISMATCH


# -- demo and open ------------------------------------------------------------------------------------------------------


async def test_the_demo_lets_in_with_its_built_in_credentials(access: Access) -> None:
    found = access.make_gate(demo=True)
    for headers in ([bearer("demo-token")], [("x-api-key", "demo-key")], [bearer("demo-token"), ("x-api-key", "demo-key")]):
        caller = await found.identify(scope("/x", *headers))
        assert caller.principal is not None
        assert (caller.principal.tenant, caller.principal.roles) == ("demo", frozenset({"admin"}))
    assert await failure(found, bearer("demo-key")) is Failure.BAD_TOKEN
    assert await failure(found, bearer(await access.token())) is None


async def test_the_demo_signs_a_browser_in(access: Access) -> None:
    found = access.make_gate(demo=True)
    cookie = await found.demo_cookie(secure=False)
    assert cookie is not None
    caller = await found.identify(scope("/", ("Cookie", cookie.partition(";")[0])))
    assert caller.principal is not None
    assert (caller.principal.tenant, caller.principal.subject) == ("demo", "demo")


async def test_without_the_demo_its_credentials_are_worth_nothing(access: Access) -> None:
    cookie = await access.make_gate(demo=True).demo_cookie(secure=False)
    assert cookie is not None
    assert await failure(access.gate, bearer("demo-token")) is Failure.BAD_TOKEN
    assert await failure(access.gate, ("x-api-key", "demo-key")) is Failure.UNKNOWN_KEY
    assert await failure(access.gate, ("Cookie", cookie.partition(";")[0])) is Failure.BAD_TOKEN
    assert await access.gate.demo_cookie(secure=False) is None


async def test_the_demos_credentials_never_run_out(access: Access) -> None:
    found = access.make_gate(demo=True)
    await found.refresh()
    gone: list[directory.Gone] = []
    found.on_revoked.append(gone.append)
    await found.identify(scope("/x", bearer("demo-token")))
    await access.store.add_tenant("another")
    await found.refresh()
    assert gone == []
    assert await failure(found, bearer("demo-token")) is None


async def test_open_lets_in_who_shows_nothing(access: Access) -> None:
    found = access.make_gate(open=True)
    first, second = found.anonymous(), found.anonymous()
    assert first is not None
    assert second is not None
    assert first.login != second.login
    assert found.anonymous(discriminator="b") == found.anonymous(discriminator="b")
    assert (first.tenant, first.anonymous) == ("demo", True)
    assert await may(found, first, Action.PUBLISH, "/free")
    assert not await may(found, first, Action.SUBSCRIBE, "/statistics/v3/service")


async def test_open_is_no_excuse_for_bad_credentials_and_does_not_open_rest(access: Access) -> None:
    found = access.make_gate(open=True)
    assert await failure(found, bearer("nope")) is Failure.BAD_TOKEN
    assert await failure(found) is Failure.MISSING


async def test_without_open_nobody_is_anonymous(access: Access) -> None:
    assert access.gate.anonymous() is None


# -- decisions ----------------------------------------------------------------------------------------------------------


async def test_a_tenants_own_role_decides_in_that_tenant_only(access_both: Access) -> None:
    await access_both.store.add_role("acme", "wall", [Grant(Action.SUBSCRIBE, ("/a/**",), ("/a/secret",))])
    ana = await principal_of(access_both, await access_both.token("ana", "wall"))
    assert await may(access_both.gate, ana, Action.SUBSCRIBE, "/a/b")
    assert not await may(access_both.gate, ana, Action.SUBSCRIBE, "/a/**")
    assert not await may(access_both.gate, ana, Action.PUBLISH, "/a/b")
    stranger = Principal("rival", "bob", frozenset({"wall"}), "l", "l")
    assert not await may(access_both.gate, stranger, Action.SUBSCRIBE, "/a/b")


async def test_decisions_are_remembered_and_bounded(access: Access) -> None:
    made = access.make_gate(limits=Limits(max_decisions=2))
    ana = await principal_of(access, await access.token())
    for channel in ("/a", "/b", "/c", "/a"):
        assert await may(made, ana, Action.SUBSCRIBE, channel)
    assert len(made.decisions) == 2
