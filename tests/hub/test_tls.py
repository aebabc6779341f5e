"""A hub that speaks TLS itself: every door over it, and ``Strict-Transport-Security``."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from hub.ops.settings import SettingsError, load
from tests.conftest import QUIET_CENTRE
from tests.support.hub_process import HubProcess
from tests.support.proxies import make_certificate

YEAR = "max-age=31536000"
SECONDS = 60


class TlsHub(HubProcess):
    """A hub with a certificate for localhost, and a client that trusts it."""

    def __init__(self, folder: Path) -> None:
        certificate, key = make_certificate(folder)
        self.trust = ssl.create_default_context(cafile=str(certificate))
        super().__init__(folder, environment={**QUIET_CENTRE, "HUB_TLS__CERT": str(certificate), "HUB_TLS__KEY": str(key)})

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def wait_ready(self) -> None:
        self.wait_logged("listening")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust, headers=self.headers, timeout=SECONDS, trust_env=False)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsHub]:
    made = TlsHub(tmp_path_factory.mktemp("tls"))
    made.start()
    yield made
    made.close()


def test_it_says_where_it_listens(hub: TlsHub) -> None:
    assert f'"url": "https://localhost:{hub.port}"' in hub.log().replace('":"', '": "')


def test_every_answer_tells_browsers_to_stay_with_tls(hub: TlsHub) -> None:
    with hub.client() as client:
        for path in ("/livez", "/", "/api/v1/me", "/nothing", "/auth/v3/sign-in", "/cometd", "/ws", "/metrics"):
            assert client.get(path).headers.get_list("strict-transport-security") == [YEAR], path


def test_cookies_are_for_tls_alone_and_links_are_of_tls(hub: TlsHub) -> None:
    with hub.client() as client:
        signed_in = client.post("/api/v1/sign-in", json={"token": "demo-token"})
        assert signed_in.status_code == 200, signed_in.text
        assert "secure" in signed_in.headers["set-cookie"].lower()
        document = client.get("/auth/v3/.well-known/openid-configuration").json()
        assert document["issuer"] == f"{hub.url}/auth/v3"


def test_a_held_connect_a_stream_and_a_websocket_work_over_tls(hub: TlsHub) -> None:
    handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling", "websocket"]}
    with hub.client() as client:
        made = client.post("/cometd", json=[handshake]).json()[0]
        assert made["successful"], made
        connect_now = {"channel": "/meta/connect", "clientId": made["clientId"], "connectionType": "long-polling"}
        connected = client.post("/cometd", json=[{**connect_now, "advice": {"timeout": 50}}])
        assert connected.json()[0]["successful"]
        with client.stream("GET", "/events?channel=/orders") as stream:
            assert stream.status_code == 200
            assert next(stream.iter_lines())
    with connect(f"wss://localhost:{hub.port}/ws", ssl=hub.trust, proxy=None) as socket_:
        socket_.send(json.dumps({"type": "hello", "token": "demo-token"}))
        assert json.loads(socket_.recv(timeout=SECONDS))[0]["type"] == "welcome"


def test_a_file_is_uploaded_and_downloaded_over_tls(hub: TlsHub) -> None:
    """The operating system, which knows nothing of the encryption, must not send it (:mod:`hub.transports.file_sending`)."""
    content = os.urandom(2_000_000)
    calls = "/via/v3/organizations/demo/mediaStorage/data"
    with hub.client() as client:
        where = client.get(f"{calls}/signedUploadUrl", params={"key": "imports/a"}).json()["signedUploadUrl"]
        assert client.put(where, content=content).status_code == 200
        where = client.get(f"{calls}/signedDownloadUrl", params={"key": "imports/a"}).json()["signedDownloadUrl"]
        assert where.startswith("https://")
        assert client.get(where).content == content
        assert client.get(where, headers={"Range": "bytes=5-1000004"}).content == content[5:1_000_005]


def test_a_large_answer_a_large_body_and_a_refusal_amid_a_body_arrive_whole(hub: TlsHub) -> None:
    with hub.client() as client:
        assert len(client.get("/openapi.json").content) > 64 * 1024
        pieces = repeat(b"x" * 2**20, 64)
        refused = client.post("/api/v1/publish", content=pieces, headers={"content-length": str(64 * 2**20)})
        assert refused.status_code == 413


def test_plain_http_gets_no_answer(hub: TlsHub) -> None:
    with socket.create_connection(("127.0.0.1", hub.port), timeout=SECONDS) as plain:
        plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            answer = plain.recv(1024)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP")


def test_nothing_older_than_tls_1_2_is_spoken(hub: TlsHub) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", hub.port), timeout=SECONDS) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)


def test_a_certificate_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as told:
        load([], config=None, flags={"tls": {"cert": str(tmp_path / "nothing.pem")}})
    assert "tls: expected a certificate and its key in PEM files" in str(told.value)
    with pytest.raises(SettingsError) as told:
        load([], config=None, flags={"tls": {"key": str(tmp_path / "nothing.pem")}})
    assert "expected tls.cert beside tls.key" in str(told.value)


@pytest.mark.parametrize(("section", "seconds"), [({}, 0), ({"hsts_s": 600}, 600), ({"hsts_s": 0}, 0)])
def test_behind_a_proxy_only_a_number_makes_the_hub_say_it(section: dict[str, int], seconds: int) -> None:
    assert load([], config=None, flags={"tls": section}).tls.hsts_seconds == seconds
