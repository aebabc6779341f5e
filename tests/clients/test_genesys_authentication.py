r"""The requests that Genesys' own JavaScript client of the Authentication API (authentication-client-js 9.0) sends, as it sends them. The
library is on no package registry, so its requests stand here: ``x-api-key`` each time, ``Content-Type: application/json`` on each GET,
``Accept: application/json``, ``Authorization`` as the caller wrote it, form fields without a value left out, no cookies kept.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.foreign import KINDS, Connect
from tests.clients.oauth_hub import PASSWORD, SECONDS, USER, OAuthHub
from tests.clients.oauth_python import Authlib
from tests.support.signing_in import come_back


class Library:
    """What the library sends for each of its functions."""

    def __init__(self, hub: OAuthHub) -> None:
        self._http = httpx.Client(base_url=hub.issuer, headers={"x-api-key": hub.api_key, "Accept": "application/json"}, timeout=SECONDS)

    def get(self, path: str, token: str | None = None, **query: str) -> httpx.Response:
        headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"bearer {token}"})
        return self._http.get(path, headers=headers, params=query)

    def token(self, authorization: str | None = None, **form: str) -> httpx.Response:
        headers = {} if authorization is None else {"Authorization": authorization}
        return self._http.post("/oauth/token", data=form, headers=headers)

    def post(self, path: str, token: str, body: Any = None, **query: str) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        return self._http.post(path, json=body, params=query, headers=headers)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def library(oauth_hub: OAuthHub) -> Iterator[Library]:
    made = Library(oauth_hub)
    yield made
    made.close()


def basic(hub: OAuthHub, client: str) -> str:
    return "Basic " + base64.b64encode(f"{client}:{hub.secrets[client]}".encode()).decode()


def by_password(hub: OAuthHub, library: Library, user: str = f"acme\\{USER}") -> dict[str, Any]:
    """The tokens that the tutorials get: a fixed client_id in the form beside HTTP Basic."""
    form = {"grant_type": "password", "client_id": "tutorial-apps", "username": user, "password": PASSWORD, "scope": "*"}
    answer = library.token(basic(hub, "tutorial"), **form)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("user", [f"acme\\{USER}", USER])
def test_a_password_gets_tokens(oauth_hub: OAuthHub, library: Library, user: str) -> None:
    tokens = by_password(oauth_hub, library, user)
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (tokens["token_type"], tokens["scope"]) == ("bearer", "*")
    answer = library.token(basic(oauth_hub, "tutorial"), grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert answer.status_code == 200
    assert oauth_hub.me(answer.json()["access_token"]).json()["data"]["subject"] == USER


def test_a_program_gets_a_token(oauth_hub: OAuthHub, library: Library) -> None:
    answer = library.token(basic(oauth_hub, "night"), grant_type="client_credentials", scope="*")
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()


@pytest.mark.parametrize(
    ("client", "form", "status", "body"),
    [
        ("night", {"grant_type": "client_credentials"}, 401, {"error": "Unauthorized", "error_description": "Bad credentials"}),
        (
            "tutorial",
            {"grant_type": "password", "username": f"acme\\{USER}", "password": "wrong"},
            400,
            {"error": "invalid_grant", "error_description": "Bad credentials"},
        ),
    ],
)
def test_refusals_are_those_of_the_api(
    oauth_hub: OAuthHub, library: Library, client: str, form: dict[str, str], status: int, body: dict[str, str]
) -> None:
    wrong = "Basic " + base64.b64encode(f"{client}:wrong".encode()).decode()
    answer = library.token(wrong if status == 401 else basic(oauth_hub, client), **form)
    assert (answer.status_code, answer.json()) == (status, body)


def test_an_unknown_api_key_is_forbidden(oauth_hub: OAuthHub) -> None:
    answer = httpx.get(f"{oauth_hub.issuer}/userinfo", headers={"x-api-key": "wrong"}, timeout=SECONDS)
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


def test_the_three_kinds_of_user_information(oauth_hub: OAuthHub, library: Library) -> None:
    token = by_password(oauth_hub, library)["access_token"]
    details = library.get("/userinfo", token)
    assert details.status_code == 200
    assert (details.json()["username"], details.json()["contactCenterId"], details.json()["dbid"]) == ("acme\\ana#1", "acme", 1)
    assert library.get("/openid/userinfo", token).json()["user_name"] == "acme\\ana#1"
    signed = library.get("/jwt-userinfo", token)
    assert signed.json()["status"]["code"] == 0
    assert signed.headers["X-GWS-User"].count(".") == 2


def test_ping_with_nothing_but_a_key_says_that_nobody_is_signed_in(library: Library) -> None:
    assert library.get("/ping").status_code == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_both_kinds_of_sign_out_end_the_token(oauth_hub: OAuthHub, library: Library, method: str) -> None:
    token = by_password(oauth_hub, library)["access_token"]
    # the library sends a redirectUri, and follows a redirect into the application's page: so there is none
    answer = (
        library.get("/sign-out", token, **{"global": "false", "redirectUri": "http://127.0.0.1/cb"})
        if method == "GET"
        else library.post("/sign-out", token, **{"global": "false"})
    )
    assert (answer.status_code, answer.json()["status"]["code"]) == (200, 0)
    oauth_hub.wait_ended(token)


def test_the_password_is_changed(oauth_hub: OAuthHub, library: Library) -> None:
    name, new = "changes", "another correct horse"
    oauth_hub.process.command("user", "add", name, "--role", "viewer", "--password", PASSWORD)
    token = by_password(oauth_hub, library, f"acme\\{name}")["access_token"]
    wrong = library.post("/change-password", token, {"data": {"oldPassword": "wrong one", "newPassword": new}})
    assert wrong.status_code == 403
    body = {"data": {"oldPassword": PASSWORD, "newPassword": new, "userName": f"acme\\{name}"}, "operationId": "1"}
    assert library.post("/change-password", token, body).status_code == 200
    form = {"grant_type": "password", "username": name, "password": new}
    assert library.token(basic(oauth_hub, "tutorial"), **form).status_code == 200
    oauth_hub.process.command("user", "remove", name)


@pytest.mark.node
@pytest.mark.parametrize("grant", ["password", "authorization_code"])
def test_the_statistics_client_takes_the_token_that_it_was_given(
    oauth_hub: OAuthHub, library: Library, connect: Connect, monkeypatch: pytest.MonkeyPatch, grant: str
) -> None:
    """Genesys' JavaScript client of the Statistics API, unmodified; a refreshed token serves it as well."""
    if grant == "password":
        token = by_password(oauth_hub, library)["access_token"]
    else:
        monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        application = Authlib(oauth_hub.issuer, "wall", None, "http://127.0.0.1:7999/cb", "oidc")
        application.discover()
        tokens = application.finish(come_back(application.begin("openid *"), USER, PASSWORD))
        token = application.refresh(tokens["refresh_token"])["access_token"]
    (kind,) = (kind for kind in KINDS if kind.library == "genesys")
    client = connect(oauth_hub.process, kind, handshake=False, apiKey=oauth_hub.api_key)
    client.call("initialize", token)
    client.wait("initialized")
    wanted = {"statisticId": "state", "objectId": "agent-1", "objectType": "Agent", "name": "CurrentAgentState"}
    reply = client.call("createSubscription", grant, [wanted])
    assert reply["status"]["code"] == 0
    assert client.call("peek", grant)["data"]["statistics"][0]["statisticId"] == "state"
