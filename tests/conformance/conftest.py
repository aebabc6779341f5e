"""The server under test, and clients for it: over the transport that the case is about, or over another."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.clients import Client
from tests.conformance.plugin import NOT_OFFERED_TEXT
from tests.conformance.polling import CallbackClient, LongPollingClient
from tests.conformance.rules import CALLBACK_POLLING, EVERY, HOOKS, LONG_POLLING, PAGES_ORIGIN, WEBSOCKET
from tests.conformance.sockets import SocketClient
from tests.conformance.wire import Endpoint
from tests.support.hub_process import HubProcess

OWN_TIMEOUT_MS = 1_000
OWN_MAX_INTERVAL_MS = 2_000
OWN_ENVIRONMENT = {
    "HUB_LIMITS__TIMEOUT_MS": str(OWN_TIMEOUT_MS),
    "HUB_LIMITS__MAX_INTERVAL_MS": str(OWN_MAX_INTERVAL_MS),
    "HUB_ALLOWED_ORIGINS": PAGES_ORIGIN,
}
"""Short enough that no test is slow, long enough that a busy machine does not end sessions in the middle of a test."""

_KINDS: dict[str, type[Client]] = {WEBSOCKET: SocketClient, LONG_POLLING: LongPollingClient, CALLBACK_POLLING: CallbackClient}


@dataclass
class Server:
    """The server under test, of which nothing is known but its address."""

    endpoint: Endpoint
    token: str | None
    max_interval_ms: int
    hub: HubProcess | None = None
    """The suite's own hub; None for the server that the user names."""
    hooks: tuple[str, ...] = HOOKS
    """What the server is set up with for tests of its own side."""
    _tokens: dict[str, str] = field(default_factory=dict)

    @cached_property
    def offered(self) -> tuple[str, ...]:
        """The transports that the server names in the reply to a handshake over long-polling."""
        message: dict[str, Any] = {"id": "1", "channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": list(EVERY)}
        if self.token is not None:
            message["ext"] = {"authentication": {"token": self.token}}
        url = self.endpoint.url.rstrip("/") + self.endpoint.path
        response = httpx.post(url, content=json.dumps([message]), headers={"Content-Type": "application/json"}, timeout=20)
        assert response.status_code == httpx.codes.OK, f"handshake of {url}: {response.status_code} {response.text}"
        (reply,) = response.json()
        assert reply["successful"], f"handshake of {url}: {reply}"
        return tuple(reply["supportedConnectionTypes"])

    def client(self, transport: str, **options: Any) -> Client:
        """A client that has done nothing yet. ``path`` is that of another endpoint, ``token=None`` leaves the credential out."""
        endpoint = Endpoint(self.endpoint.url, options.pop("path", self.endpoint.path))
        return _KINDS[transport](endpoint, **{"token": self.token, **options})

    def make_token(self, subject: str, role: str = "admin") -> str:
        """A bearer token for ``subject``: made once, by the command of the suite's own hub."""
        if self.hub is None:
            pytest.skip(NOT_OFFERED_TEXT + "the rule needs two credentials, and only the suite's own hub gives them out")
        if subject not in self._tokens:
            made = self.hub.command("token", "add", subject, "--role", role, "--json")
            self._tokens[subject] = json.loads(made)["token"]
        return self._tokens[subject]

    @property
    def far_reaching_token(self) -> str | None:
        """A credential that reaches every channel: ``/**`` must lie within what one may read, and anonymous clients of our hub may not read
        all.
        """
        return self.token if self.hub is None else self.make_token("far-reaching")


HUB_HOOKS = f"{Path(__file__).with_name('hooks') / 'hub_hooks.py'}:Hooks"


@contextmanager
def _own_hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, *flags: str) -> Iterator[Server]:
    hub = HubProcess(tmp_path_factory.mktemp("conformance"), ("--open", *flags), OWN_ENVIRONMENT)
    try:
        hub.start()
        yield Server(Endpoint(hub.url, request.config.getoption("--bayeux-path")), None, OWN_MAX_INTERVAL_MS, hub)
    finally:
        hub.close()


@pytest.fixture(scope="package")
def plain_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the user named, or one hub of the worker's own."""
    option = request.config.getoption
    if (url := option("--hub-url")) is not None:
        endpoint = Endpoint(url, option("--bayeux-path"))
        yield Server(endpoint, option("--hub-token"), option("--max-interval-ms"), hooks=option("--hooks"))
        return
    with _own_hub(request, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="package")
def hooked_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the user named, or a second hub of the worker's own, with the hooks: an extension costs each message something, and
    all rules that need none are tried without.
    """
    if request.config.getoption("--hub-url") is not None:
        yield request.getfixturevalue("plain_server")
        return
    with _own_hub(request, tmp_path_factory, "--extensions", HUB_HOOKS) as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """The server under test; that of a test with the mark ``hook`` has the hook."""
    mark = request.node.get_closest_marker("hook")
    if mark is None:
        plain: Server = request.getfixturevalue("plain_server")
        return plain
    hooked: Server = request.getfixturevalue("hooked_server")
    if mark.args[0] not in hooked.hooks:
        pytest.skip(f"{NOT_OFFERED_TEXT}the rule needs a server with the hook {mark.args[0]} (--hooks)")
    return hooked


@pytest.fixture(autouse=True)
def transport(request: pytest.FixtureRequest, server: Server) -> str | None:
    """The transport that the case is about. One that the server does not offer is no fault of a foreign server, and one of our own hub."""
    name: str | None = getattr(request, "param", None)
    if name is not None and name not in server.offered:
        text = f"{NOT_OFFERED_TEXT}the handshake reply names {', '.join(server.offered)}, not {name}"
        if server.hub is not None:
            pytest.fail(text.removeprefix(NOT_OFFERED_TEXT), pytrace=False)
        pytest.skip(text)
    return name


ClientFactory = Callable[..., Any]


@pytest.fixture
async def new_client(server: Server, transport: str) -> AsyncIterator[ClientFactory]:
    """``new_client(transport, **options)`` gives a client that has done nothing yet, over the case's transport when none is named."""
    made: list[Client] = []

    def new(name: str = transport, **options: Any) -> Client:
        made.append(server.client(name, **options))
        return made[-1]

    yield new
    for client in made:
        await client.close()


@pytest.fixture
async def new_session(new_client: ClientFactory) -> ClientFactory:
    """``await new_session(transport, **options)`` gives a client that has shaken hands and connected once."""

    async def new(*names: str, **options: Any) -> Any:
        client = new_client(*names, **options)
        await client.start()
        return client

    return new


@pytest.fixture
async def client(new_session: ClientFactory) -> Any:
    """A client over the case's transport that has shaken hands and connected once."""
    return await new_session()


@pytest.fixture
def channel() -> str:
    """The name of a channel that no other test uses."""
    return f"/conformance/{uuid.uuid4().hex}"
