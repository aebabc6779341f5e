"""An identity provider that nobody here wrote, npm's oidc-provider: a hub takes its tokens at every door, and ends what they opened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websocket

from tests.support.hub_process import HubProcess
from tests.support.puppet import Puppet, PuppetProcess

pytestmark = pytest.mark.node

AUDIENCE = "https://hub.example.com"
SECONDS = 60
SETTINGS = """
[auth]
issuer_networks = ["127.0.0.0/8"]

[[auth.issuers]]
name = "corp"
issuer = "{issuer}"
http = true
audience = "https://hub.example.com"
algorithms = ["RS256", "PS256", "ES256"]
tenant = "acme"
subject_claim = "client_id"
roles_claim = "roles"
roles = {{ team-leads = "supervisor" }}
"""


@dataclass
class World:
    """A hub, and the provider whose tokens it takes."""

    hub: HubProcess
    provider: Puppet

    def token(self, client: str = "night", resource: str = AUDIENCE, algorithm: str = "RS256") -> str:
        made: str = self.provider.call("token", client, resource, algorithm)
        return made

    def get(self, path: str, token: str) -> httpx.Response:
        return httpx.get(f"{self.hub.url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    process = PuppetProcess("issuer.mjs")
    provider = process.client()
    issuer = provider.call("open", {"audience": AUDIENCE})
    folder = tmp_path_factory.mktemp("issuer")
    (folder / "hub.toml").write_text(SETTINGS.format(issuer=issuer))
    hub = HubProcess(folder, flags=())
    hub.command("tenant", "add", "acme")
    hub.start()
    yield World(hub, provider)
    hub.close()
    process.close()


def read_to_the_end(socket: ClientConnection) -> None:
    """Read what comes until the hub closes the connection."""
    while True:
        socket.recv(timeout=SECONDS)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
def test_its_tokens_are_taken(world: World, algorithm: str) -> None:
    token = world.token(algorithm=algorithm)
    me = world.get("/api/v1/me", token)
    assert me.json()["data"] == {"tenant": "acme", "subject": "ext:corp:night", "roles": ["supervisor"]}
    assert world.get("/auth/v3/userinfo", token).json()["username"] == "acme\\ext:corp:night"


def test_who_has_no_role_of_the_hubs_may_do_nothing(world: World) -> None:
    token = world.token("eve")
    assert world.get("/api/v1/me", token).json()["data"]["roles"] == []
    assert httpx.post(f"{world.hub.url}/api/v1/tickets", headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS).status_code == 403


def test_a_token_for_another_service_is_refused(world: World) -> None:
    assert world.get("/api/v1/me", world.token(resource="https://billing.example.com")).status_code == 401


def test_a_changed_token_is_refused(world: World) -> None:
    head, payload, signature = world.token().split(".")
    other = "A" if signature[10] != "A" else "B"
    assert world.get("/api/v1/me", f"{head}.{payload}.{signature[:10]}{other}{signature[11:]}").status_code == 401


def test_a_blocked_token_ends_what_it_opened(world: World) -> None:
    token = world.token("leaver")
    with websocket(f"{world.hub.ws_url}/ws", additional_headers={"Authorization": f"Bearer {token}"}, open_timeout=SECONDS) as socket:
        assert json.loads(socket.recv(timeout=SECONDS))
        world.hub.command("token", "block", "ext:corp:leaver")
        with pytest.raises(ConnectionClosed) as ended:
            read_to_the_end(socket)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 4401
    assert world.get("/api/v1/me", token).status_code == 401


def test_a_sign_out_ends_a_token(world: World) -> None:
    token = world.token("eve")
    assert world.get("/api/v1/me", token).status_code == 200
    answer = httpx.post(f"{world.hub.url}/auth/v3/sign-out", headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS)
    assert answer.status_code == 200
    until = time.monotonic() + SECONDS
    while world.get("/api/v1/me", token).status_code != 401:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_browser_signs_in_with_a_token(world: World) -> None:
    with httpx.Client(base_url=world.hub.url, timeout=SECONDS) as browser:
        assert browser.post("/api/v1/sign-in", json={"token": world.token()}).status_code == 200
        assert browser.get("/api/v1/me").json()["data"]["subject"] == "ext:corp:night"


def test_the_doctor_tells_of_the_issuer(world: World) -> None:
    told = world.hub.command("doctor")
    assert "issuer corp" in told
    assert "3 keys" in told
