"""Where keys are fetched from, and what is not fetched: a real server, and the guard of webhooks in front of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
from aiohttp import web

from hub.outbox.guard import Guard
from hub.security.issuers import fetching
from hub.security.issuers.fetching import Fetcher
from hub.security.issuers.keys import KeysUnavailableError
from hub.security.issuers.settings import IssuerSettings
from tests.hub.security.issuers.conftest import SmallIssuer, settings

LOOPBACK = ip_network("127.0.0.0/8")


@dataclass
class Server:
    """A server of documents, by path: bytes, or a whole response."""

    port: int = 0
    documents: dict[str, bytes | web.StreamResponse] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        found = self.documents.get(request.path)
        if isinstance(found, web.StreamResponse):
            return found
        return web.Response(status=404) if found is None else web.Response(body=found, content_type="application/json")

    def issuer(self, **more: object) -> IssuerSettings:
        return settings(http=True, issuer=self.url, **more)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher(Guard([LOOPBACK], setting="auth.issuer_networks"))
    yield made
    await made.stop()


def keys() -> bytes:
    issuer = SmallIssuer()
    issuer.add("one", "EdDSA")
    return issuer.document()


def discovery(server: Server, **more: object) -> bytes:
    return json.dumps({"issuer": server.url, "jwks_uri": f"{server.url}/keys", **more}).encode()


async def refused(fetcher: Fetcher, issuer: IssuerSettings) -> str:
    with pytest.raises(KeysUnavailableError) as error:
        await fetcher.key_set(issuer)
    return str(error.value)


async def test_the_keys_are_where_the_discovery_document_says(server: Server, fetcher: Fetcher) -> None:
    server.documents |= {"/.well-known/openid-configuration": discovery(server), "/keys": keys()}
    assert await fetcher.key_set(server.issuer()) == keys()
    assert server.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_the_keys_are_where_the_settings_say(server: Server, fetcher: Fetcher) -> None:
    server.documents["/mine"] = keys()
    assert await fetcher.key_set(server.issuer(jwks_url=f"{server.url}/mine")) == keys()
    assert server.asked == ["/mine"]


async def test_an_address_of_the_hubs_own_network_has_to_be_allowed(server: Server) -> None:
    guarded = Fetcher(Guard(setting="auth.issuer_networks"))
    told = [await refused(guarded, server.issuer(jwks_url=f"http://{host}:{server.port}/keys")) for host in ("127.0.0.1", "localhost")]
    await guarded.stop()
    assert "within auth.issuer_networks" in told[0]
    assert "auth.issuer_networks does not name it" in told[1]
    assert server.asked == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://169.254.169.254/latest/meta-data", "within auth.issuer_networks"),
        ("http://[::1]/keys", "within auth.issuer_networks"),
        ("file:///etc/passwd", "expected a URL that begins with https://"),
        ("gopher://127.0.0.1/", "expected a URL that begins with https://"),
        (7, "jwks_uri: expected a text"),
    ],
)
async def test_a_discovery_document_leads_nowhere_else(server: Server, fetcher: Fetcher, address: object, said: str) -> None:
    server.documents["/.well-known/openid-configuration"] = discovery(server, jwks_uri=address)
    assert said in await refused(fetcher, server.issuer())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "has no issuer and jwks_uri"),
        (b"[]", "has no issuer and jwks_uri"),
        (b'{"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}', "is of the issuer 'https://evil.example'"),
    ],
)
async def test_a_discovery_document_of_somebody_else_is_refused(server: Server, fetcher: Fetcher, document: bytes, said: str) -> None:
    server.documents["/.well-known/openid-configuration"] = document
    assert said in await refused(fetcher, server.issuer())


async def test_no_redirect_is_followed(server: Server, fetcher: Fetcher) -> None:
    server.documents["/keys"] = web.Response(status=302, headers={"Location": "/other"})
    assert "answered 302, expected 200" in await refused(fetcher, server.issuer(jwks_url=f"{server.url}/keys"))
    assert server.asked == ["/keys"]


async def test_a_document_without_end_is_cut_off(server: Server, fetcher: Fetcher) -> None:
    server.documents["/keys"] = b" " * (256 * 1024 + 1)
    assert "answered more than 262144 bytes" in await refused(fetcher, server.issuer(jwks_url=f"{server.url}/keys"))


@pytest.mark.parametrize("path", ["/absent", "/large-header"])
async def test_no_error_has_the_key_of_an_address(server: Server, fetcher: Fetcher, path: str) -> None:
    server.documents["/large-header"] = web.Response(headers={"X": "x" * 20_000})
    told = await refused(fetcher, server.issuer(jwks_url=f"{server.url}{path}?key=geheim"))
    assert f"{server.url}{path}?key=[hidden] " in told
    assert "geheim" not in told


async def test_an_issuer_that_is_not_there_is_told(server: Server, fetcher: Fetcher) -> None:
    assert "answered 404" in await refused(fetcher, server.issuer())
    assert "cannot be fetched" in await refused(fetcher, settings(http=True, issuer="http://127.0.0.1:9"))


async def test_an_issuer_that_does_not_answer_is_given_up(server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.0)
    server.documents["/keys"] = keys()
    assert "did not answer within 0 s" in await refused(fetcher, server.issuer(jwks_url=f"{server.url}/keys"))
