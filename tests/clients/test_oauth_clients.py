"""OAuth clients that nobody here wrote, against a hub with an unmodified library each: discovery, the code flow with PKCE, refreshing,
programs by themselves, introspection, revocation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients.oauth_hub import PASSWORD, USER, OAuthHub
from tests.clients.oauth_python import Authlib, RequestsOAuthlib
from tests.support.puppet import Puppet, PuppetProcess
from tests.support.signing_in import come_back

pytestmark = pytest.mark.node

CALLBACK = "http://127.0.0.1:7999/cb"

PYTHON = {"authlib": Authlib, "requests-oauthlib": RequestsOAuthlib}


@dataclass(frozen=True)
class Library:
    """What one library does by itself. What it cannot do is a fact about it, stated here, and no test asks for it."""

    name: str
    openid: bool = True
    """Whether it knows discovery documents and ID tokens."""
    pkce: bool = True
    introspects: bool = True
    algorithms: tuple[str, ...] = ("oidc", "oauth2")

    def __str__(self) -> str:
        return self.name


LIBRARIES = [
    Library("oauth4webapi"),
    Library("openid-client"),
    Library("simple-oauth2", openid=False, pkce=False, introspects=False, algorithms=("oidc",)),
    Library("authlib"),
    Library("requests-oauthlib", openid=False, introspects=False),
]
EVERY = pytest.mark.parametrize("library", LIBRARIES, ids=str)
INTROSPECTING = pytest.mark.parametrize("library", [each for each in LIBRARIES if each.introspects], ids=str)


Client = Callable[..., Any]
"""``client(library, client_id, algorithm)``: a function that runs one command of the library, named as in oauth.mjs."""


@pytest.fixture(scope="module")
def node_process() -> Iterator[PuppetProcess]:
    process = PuppetProcess("oauth.mjs")
    yield process
    process.close()


@pytest.fixture
def client(oauth_hub: OAuthHub, node_process: PuppetProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # oauthlib's word for a hub without a certificate
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    made: list[Puppet] = []

    def start(library: Library, client_id: str = "crm", algorithm: str = "oidc") -> Callable[..., Any]:
        secret = oauth_hub.secrets.get(client_id)
        if library.name in PYTHON:
            instance = PYTHON[library.name](oauth_hub.issuer, client_id, secret, CALLBACK, algorithm)
            call = lambda name, *args: getattr(instance, {"byItself": "by_itself"}.get(name, name))(*args)  # noqa: E731
        else:
            puppet = node_process.client()
            made.append(puppet)
            shown = {"clientId": client_id, "secret": secret, "redirectUri": CALLBACK}
            puppet.call("open", {"library": library.name, "issuer": oauth_hub.issuer, "algorithm": algorithm, **shown})
            call = puppet.call
        call("discover")
        return call

    yield start
    for each in made:
        each.drop()


def signed_in(call: Callable[..., Any], scope: str = "openid *") -> dict[str, Any]:
    """The tokens of ana, through the whole flow."""
    tokens: dict[str, Any] = call("finish", come_back(call("begin", scope), USER, PASSWORD))
    return tokens


@pytest.mark.parametrize(
    ("library", "algorithm", "client_id"),
    [
        (each, algorithm, client_id)
        for each in LIBRARIES
        for algorithm in each.algorithms
        for client_id in ("wall", "crm")
        if each.pkce or client_id == "crm"  # a public client needs PKCE
    ],
    ids=str,
)
def test_a_user_signs_in(oauth_hub: OAuthHub, client: Client, library: Library, algorithm: str, client_id: str) -> None:
    call = client(library, client_id, algorithm)
    tokens = signed_in(call)
    assert oauth_hub.me(tokens["access_token"]).json()["data"] == {"tenant": "acme", "subject": "ana", "roles": ["supervisor"]}
    assert tokens["token_type"].lower() == "bearer"
    if library.openid:
        claims = tokens["claims"]
        assert (claims["iss"], claims["aud"]) == (oauth_hub.issuer, client_id)


@EVERY
def test_tokens_are_refreshed_and_an_old_one_ends_them_all(oauth_hub: OAuthHub, client: Client, library: Library) -> None:
    call = client(library, "wall" if library.pkce else "crm")
    first = signed_in(call)
    second = call("refresh", first["refresh_token"])
    assert oauth_hub.me(second["access_token"]).status_code == 200
    assert second["refresh_token"] != first["refresh_token"]
    for used in (first, second):  # the first is shown again; what came of it has ended
        with pytest.raises(Exception, match=r"invalid_grant|Bad credentials|Bad Request|server responded with an error"):
            call("refresh", used["refresh_token"])
    oauth_hub.wait_ended(second["access_token"])


@EVERY
def test_a_program_gets_a_token_by_itself(oauth_hub: OAuthHub, client: Client, library: Library) -> None:
    tokens = client(library, "night")("byItself", "*")
    assert oauth_hub.me(tokens["access_token"]).json()["data"]["subject"] == "client:night"
    assert "refresh_token" not in tokens


@pytest.mark.parametrize("library", [each for each in LIBRARIES if each.openid or each.name == "requests-oauthlib"], ids=str)
def test_user_information_is_of_the_same_user_as_the_id_token(client: Client, library: Library) -> None:
    call = client(library)
    tokens = signed_in(call)
    subject = tokens["claims"]["sub"] if library.openid else None
    info = call("userinfo", tokens["access_token"], subject)
    assert info["user_name"] == "acme\\ana#1"
    assert info["sub"] == subject or subject is None


@INTROSPECTING
def test_introspection(client: Client, library: Library) -> None:
    call = client(library)
    tokens = signed_in(call)
    found = call("introspect", tokens["access_token"])
    assert (found["active"], found["username"], found["client_id"]) == (True, "acme\\ana", "crm")
    assert call("introspect", "hubt_of-nobody") == {"active": False}


@EVERY
def test_revocation_ends_both_tokens(oauth_hub: OAuthHub, client: Client, library: Library) -> None:
    call = client(library, "wall" if library.pkce else "crm")
    tokens = signed_in(call)
    call("revoke", tokens["refresh_token"])
    oauth_hub.wait_ended(tokens["access_token"])
    call("revoke", tokens["refresh_token"])  # again: no error (RFC 7009 section 2.2)


def test_simple_oauth2_revokes_all_and_expects_json_each_time(oauth_hub: OAuthHub, client: Client) -> None:
    (library,) = (each for each in LIBRARIES if each.name == "simple-oauth2")
    call = client(library)
    tokens = signed_in(call)
    call("revokeAll")
    oauth_hub.wait_ended(tokens["access_token"])
