"""Forms, clients, redirects, scopes, proofs and signed values from random bytes: each is taken or refused in the way that its function
declares, and nothing is taken that this hub has not made.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from channels.auth.signed import Form, PageSigner
from hub.security.cookies import CookieSigner, read_cookies, statistics_cookie
from hub.security.credentials import Credential, hash_secret
from hub.security.devices import DeviceSigner
from hub.security.oauth.authorization import AuthorizationRequest, PageError, RedirectedError, read_request
from hub.security.oauth.clients import authenticate
from hub.security.oauth.device import LENGTH, LETTERS, read_user_code
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Client, Grant
from hub.security.oauth.parameters import Parameters, check_form, parse_parameters
from hub.security.oauth.pkce import check_verifier, read_challenge
from hub.security.oauth.redirects import RedirectError, check_redirect_uri, is_registered, origin_of
from hub.security.oauth.scopes import ALL, IDENTITY, narrowed, parse_scope
from hub.security.origin import from_own_page
from hub.security.tickets import tenant_of
from hub.security.tickets_memory import MemoryTickets
from tests.robustness.campaign import LONG, SHORT, long_form, repeat, rounds, seconds
from tests.robustness.mutator import Mutator
from tests.world import ManualClock

CALLBACK: Final = "https://app.acme.example/cb"
LOOPBACK: Final = "http://127.0.0.1:5000/cb"
SECRET: Final = "s3cret"
CHALLENGE: Final = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
VERIFIER: Final = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CRM: Final = Client(
    "crm",
    "acme",
    "CRM",
    public=False,
    grants=frozenset({Grant.AUTHORIZATION_CODE}),
    secrets=(hash_secret(SECRET),),
    redirect_uris=(CALLBACK,),
)
KNOWN: Final = ("media:read", "interaction-content:read")
CLOCK: Final = ManualClock(1_800_000_000.0)

_PLAIN = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
"""What ``error_description`` may have (RFC 6749 section 5.2)."""

_SOURCE = re.compile(r"https?://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
"""A source of a Content-Security-Policy that is one host, and ends neither the directive nor the policy."""


def refused(step: Callable[[], object]) -> str | None:
    """The error of a step; None if there is none. Any exception but an OAuthError fails the test."""
    try:
        step()
    except OAuthError as error:
        told = error
    else:
        return None
    assert _PLAIN.fullmatch(told.description), told.description
    return told.error


# -- forms ----------------------------------------------------------------------------------------------------------------


def check_parameters(raw: bytes) -> None:
    """Read a form, and everything that reads its parameters further."""
    found: list[Parameters] = []
    if refused(lambda: found.append(parse_parameters(raw))) is not None:
        return
    (parameters,) = found
    assert [value for value in parameters.values() if not value or any(each < " " or each == "\x7f" for each in value)] == []
    refused(lambda: parameters.number("max_age", 100))
    refused(lambda: parameters.one_of("prompt", ("none", "login"), "none"))
    refused(lambda: read_challenge(parameters, required=True))
    refused(lambda: check_verifier(CHALLENGE, parameters.get("code_verifier")))
    refused(lambda: parse_scope(parameters.get("scope"), KNOWN))
    refused(lambda: narrowed(parameters.get("scope"), (ALL,)))
    check_client(parameters, [])
    check_authorization_request(parameters)


async def find(client_id: str) -> Client | None:
    return CRM if client_id == CRM.id else None


def run(step: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def check_client(parameters: Parameters, authorization: list[str]) -> None:
    found: list[Client] = []
    error = refused(lambda: found.append(run(authenticate(parameters, authorization, find))))
    assert error in {None, "Unauthorized", "invalid_request"}
    if found:
        assert found == [CRM]
        shown = "".join(authorization)
        assert parameters.get("client_secret") == SECRET or SECRET in base64.b64decode(shown.split()[-1]).decode() or "%" in shown


def check_authorization_request(parameters: Parameters) -> None:
    """Whatever is asked for, a browser is sent to an address of the client alone."""
    try:
        request: AuthorizationRequest = run(read_request(parameters, find, KNOWN, "https://hub.test/auth/v3"))
        location = request.granted("code").location
    except PageError:
        return
    except RedirectedError as error:
        location = error.redirect.location
    assert location.startswith(f"{CALLBACK}?")
    assert location.isascii()
    assert location.isprintable()


FORMS: Final = [
    b"grant_type=authorization_code&client_id=crm&client_secret=s3cret&code=x&redirect_uri=https%3A%2F%2Fapp.acme.example%2Fcb&code_verifier="
    + VERIFIER.encode(),
    b"response_type=code&client_id=crm&redirect_uri=https%3A%2F%2Fapp.acme.example%2Fcb&scope=openid+*&state=a%26b&max_age=3&prompt=none&"
    b"code_challenge_method=S256&code_challenge=" + CHALLENGE.encode(),
    b"grant_type=refresh_token&client_id=crm&client_secret=s3cret&refresh_token=hubr_x&scope=openid",
]
TOKENS: Final = [
    *(b"&", b"=", b"%", b"%00", b"%0d%0a", b"%ff", b"%C3%A9", b"%ED%A0%80", b"+", b";", b"\xe9", b"client_id", b"redirect_uri", b"state"),
    *(b"https://evil.example", b"\\", b"@", b"#", b"crm", b"none", b"9" * 30, b"%D9%A1"),
]

names = st.sampled_from(
    ["client_id", "client_secret", "redirect_uri", "response_type", "scope", "state", "prompt", "max_age", "code_challenge"]
)
values = st.one_of(st.text(max_size=20), st.sampled_from(["crm", CALLBACK, SECRET, "code", "openid *", "none", CHALLENGE, "S256"]))
forms = st.lists(st.tuples(names, values), max_size=12).map(
    lambda pairs: "&".join(f"{name}={quote(value)}" for name, value in pairs).encode()
)


@SHORT
@given(st.one_of(st.binary(max_size=200), forms))
@example(b"client_id=crm&redirect_uri=" + quote(CALLBACK, safe="").encode() + b"&state=%C2%85%E2%80%A8")
def test_forms(raw: bytes) -> None:
    check_parameters(raw)


def mutations(chance: random.Random, count: int) -> None:
    mutator = Mutator(chance, TOKENS)
    for _ in range(count):
        check_parameters(mutator.mutate(chance.choice(FORMS)))


def test_forms_that_are_nearly_right() -> None:
    mutations(random.Random(6749), 500)


@long_form
def test_forms_for_long() -> None:
    for chance in rounds(seconds()):
        mutations(chance, 500)


# -- clients, content types ---------------------------------------------------------------------------------------------

basics = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=40),
    st.binary(max_size=40).map(lambda raw: "Basic " + base64.b64encode(raw).decode()),
    st.tuples(st.sampled_from(["crm", "c%72m", "crm+"]), st.sampled_from([SECRET, "wrong", "%73"])).map(
        lambda pair: "basic " + base64.b64encode(":".join(pair).encode()).decode()
    ),
    st.text(st.characters(max_codepoint=255), max_size=20).map(lambda text: f"Basic {text}"),
)


def check_basic(authorization: list[str], form: dict[str, str], content_type: str) -> None:
    check_client(Parameters(form), authorization)
    refused(lambda: check_form(content_type))


@SHORT
@given(st.lists(basics, max_size=2), st.dictionaries(names, values, max_size=2), st.text(max_size=30))
@example(["Basic \xe9"], {}, "")  # was answered 500
def test_clients(authorization: list[str], form: dict[str, str], content_type: str) -> None:
    check_basic(authorization, form, content_type)


@long_form
def test_clients_for_long() -> None:
    repeat(LONG(given(st.lists(basics, max_size=2), st.dictionaries(names, values, max_size=2), st.text(max_size=30))(check_basic)))


# -- redirect URIs --------------------------------------------------------------------------------------------------------

pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *("https://", "http://", "HTTPS:", "//", "/", "\\", "@", ":", "#", "?", "..", ".", "%2e", "%2f", "127.0.0.1", "[::1]"),
                *("app.acme.example", "evil.example", "localhost", ":443", ":0", ":65536", ";", ",", "*", "'", "javascript:", "\u0430"),
                *("com.example.app:", "\t"),
            ]
        ),
        st.text(max_size=4),
    ),
    max_size=8,
).map("".join)


def check_redirect(uri: str) -> None:
    """What may be registered is safe to send a browser to and to name in a policy; and nothing else fits what is registered."""
    assert is_registered(uri, (CALLBACK,)) is (uri == CALLBACK)
    if is_registered(uri, (LOOPBACK,)):
        parts = urlsplit(uri)
        assert (parts.scheme, parts.hostname, parts.path, parts.query, parts.fragment) == ("http", "127.0.0.1", "/cb", "", "")
    origin = origin_of(uri)
    try:
        check_redirect_uri(uri)
    except RedirectError:
        return
    assert is_registered(uri, (uri,))
    assert uri.isascii()
    assert uri.isprintable()
    assert not set(uri) & set(' \\#"<>^`{|}')
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        assert origin is not None
        assert _SOURCE.fullmatch(origin), origin
        assert ".." not in parts.path.split("/")
        assert parts.scheme == "https" or parts.hostname in {"127.0.0.1", "::1"}
    else:
        assert origin is None
        assert "." in parts.scheme


@SHORT
@given(pieces)
@example("https://app.acme.example;sandbox/cb")  # could be registered, and ended the policy of the page
@example("https://*.acme.example/cb")
@example("https://app.acme.example:/cb")
def test_redirects(uri: str) -> None:
    check_redirect(uri)


@long_form
def test_redirects_for_long() -> None:
    repeat(LONG(given(pieces)(check_redirect)))


# -- scopes, proofs, typed codes --------------------------------------------------------------------------------------------

scopes = st.lists(st.sampled_from(["*", "openid", "profile", *KNOWN, "", "OPENID", "media:read\t"]) | st.text(max_size=5), max_size=40).map(
    " ".join
)


def check_small(scope: str, proof: str, typed: str) -> None:
    found: list[tuple[str, ...]] = []
    if refused(lambda: found.append(parse_scope(scope, KNOWN))) is None:
        assert set(found[0]) <= {ALL, *IDENTITY, *KNOWN}
        assert found[0]
    if refused(lambda: found.append(narrowed(scope, ("openid", "media:read")))) is None:
        assert set(found[-1]) <= {"openid", "media:read"}
    assert (refused(lambda: check_verifier(CHALLENGE, proof)) is None) is (proof == VERIFIER)
    assert refused(lambda: check_verifier(None, proof)) == "invalid_grant"
    asked = Parameters({"code_challenge": proof, "code_challenge_method": "S256"})
    error = refused(lambda: read_challenge(asked, required=False))
    assert (error is None) is (re.fullmatch(r"[A-Za-z0-9_-]{43}", proof) is not None)
    code = read_user_code(typed)
    assert code is None or (len(code) == LENGTH and set(code) <= set(LETTERS))


proofs = st.one_of(st.text(min_size=1, max_size=60), st.just(VERIFIER), st.just(CHALLENGE))
typings = st.one_of(st.text(max_size=80), st.text("BCDFGHJK-. bcdfg", max_size=12))


@SHORT
@given(scopes, proofs, typings)
def test_scopes_proofs_and_typed_codes(scope: str, proof: str, typed: str) -> None:
    check_small(scope, proof, typed)


@long_form
def test_scopes_proofs_and_typed_codes_for_long() -> None:
    repeat(LONG(given(scopes, proofs, typings)(check_small)))


# -- signed values, cookies, tickets ----------------------------------------------------------------------------------------

COOKIES: Final = CookieSigner(b"a secret of the tests", CLOCK, lifetime_s=3600)
PAGES: Final = PageSigner(b"a secret of the tests", lambda: 1_800_000_000, 600)
DEVICES: Final = DeviceSigner(b"a secret of the tests", CLOCK)
ANA: Final = Credential("user:1", "acme", "ana", frozenset({"supervisor"}), (), "fingerprint", None)
GOOD_COOKIE: Final = COOKIES.sign(ANA)
GOOD_PAGE: Final = PAGES.sign(Form.SIGN_IN, "browser", "client_id=wall")
GOOD_DEVICE: Final = DEVICES.header("acme", "ana", secure=True).partition("=")[2].partition(";")[0]
TICKETS: Final = MemoryTickets(CLOCK)


def check_signed(value: str) -> None:
    """Nothing but what was signed is taken."""
    assert (COOKIES.read(value) is not None) is (value == GOOD_COOKIE)
    if PAGES.read(Form.SIGN_IN, "browser", value) is not None:  # the last character of base64 has bits that say nothing
        assert base64.urlsafe_b64decode(value) == base64.urlsafe_b64decode(GOOD_PAGE)
    assert PAGES.read(Form.SIGN_IN, value, GOOD_PAGE) is None
    assert run(TICKETS.look(value)) is None
    assert run(TICKETS.redeem(value)) is None
    assert value.startswith(tenant_of(value))


def check_header(value: bytes) -> None:
    """A header with cookies, an origin, or a host, of any bytes."""
    headers = [(b"cookie", value), (b"cookie", b"HUB_SESSION=" + value), (b"cookie", b"HUB_DEVICE=" + value)]
    for cookie in read_cookies(headers, "HUB_SESSION"):
        check_signed(cookie)
    statistics_cookie(headers)
    scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": headers}
    device = DEVICES.device(scope, "acme", "ana")
    assert device is None or GOOD_DEVICE.encode() in value
    for name in (b"origin", b"sec-fetch-site"):
        scope["headers"] = [(name, value), (b"host", b"hub.test")]
        if from_own_page(scope):
            assert b"hub.test" in value.lower() or name == b"sec-fetch-site"
    scope["headers"] = [(b"origin", b"https://evil.example"), (b"host", value)]
    assert not from_own_page(scope) or b"evil.example" in value.lower()


SIGNED_SEEDS: Final = [each.encode() for each in (GOOD_COOKIE, GOOD_PAGE, GOOD_DEVICE, "acme.ticket")]
SIGNED_TOKENS: Final = [
    b".",
    b"=",
    b"==",
    b"-",
    b"_",
    b"+",
    b"/",
    b"e30",
    b"eyJhbGciOiJub25lIn0",
    b"\xe9",
    b" ",
    b'"',
    b";",
    b"HUB_SESSION=",
    b"0" * 40,
]


def signed_mutations(chance: random.Random, count: int) -> None:
    mutator = Mutator(chance, SIGNED_TOKENS)
    for _ in range(count):
        raw = mutator.mutate(chance.choice(SIGNED_SEEDS))
        check_signed(raw.decode("latin-1"))
        check_header(raw)


@SHORT
@given(
    st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode())), st.binary(max_size=60)
)
@example(GOOD_COOKIE, b"https://[")
@example(GOOD_PAGE, b"https://hub.test:99999")
@example(GOOD_DEVICE, GOOD_DEVICE.encode())
def test_signed_values(value: str, header: bytes) -> None:
    check_signed(value)
    check_header(header)


def test_signed_values_that_are_nearly_right() -> None:
    signed_mutations(random.Random(7515), 500)


@long_form
def test_signed_values_for_long() -> None:
    for chance in rounds(seconds()):
        signed_mutations(chance, 500)
