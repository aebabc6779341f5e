"""The hub behind nginx and HAProxy, which end TLS, with the configurations of docs/proxies.md."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser
from websockets.sync.client import connect as websocket

from tests.clients.conftest import open_page
from tests.clients.foreign import KINDS, TOKEN
from tests.clients.raw import RawSession
from tests.conftest import SMALL_CENTRE
from tests.support.hub_process import HubProcess
from tests.support.proxies import ReverseProxy, why_not
from tests.support.puppet import Puppet, PuppetProcess

pytestmark = pytest.mark.node

BACK_WITHIN_S = 30.0
MANY_EVENTS = 8_000
"""More than the 1 MiB that nginx takes unless told otherwise."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """The one hub behind both proxies."""
    hub = HubProcess(tmp_path_factory.mktemp("proxied-hub"), environment=SMALL_CENTRE)
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def proxy(request: pytest.FixtureRequest, hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReverseProxy]:
    """A proxy in front of it."""
    if why := why_not(request.param):
        pytest.skip(why)
    proxy = ReverseProxy(request.param, tmp_path_factory.mktemp(request.param), hub.port)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture(scope="module")
def clients(proxy: ReverseProxy) -> Iterator[dict[str, Puppet]]:
    """A connected client of each kind, through the proxy."""
    processes: dict[str, PuppetProcess] = {}
    try:
        made = {}
        for kind in KINDS:
            if kind.script not in processes:
                processes[kind.script] = PuppetProcess(kind.script, program=kind.program, folder=kind.folder, environment=proxy.environment)
            client = made[str(kind)] = kind.open(processes[kind.script], proxy.url)
            reply = client.call("handshake", TOKEN)
            assert reply["successful"], reply
        yield made
    finally:
        for process in processes.values():
            process.close()


def test_all_clients_hear_each_other(clients: dict[str, Puppet], channel: str) -> None:
    for client in clients.values():
        assert client.call("subscribe", channel)["successful"]
    for name, client in clients.items():
        assert client.call("publish", channel, {"from": name})["successful"]
        assert {other.message(channel)["data"]["from"] for other in clients.values()} == {name}
    transports = {str(kind): kind.transport for kind in KINDS}
    assert {name: client.call("status")["transport"] for name, client in clients.items()} == transports


def test_dashboard_websocket(proxy: ReverseProxy, hub: HubProcess, channel: str) -> None:
    address = proxy.url.replace("https", "wss") + "/ws"
    with websocket(address, ssl=proxy.trust) as dashboard, RawSession(hub) as publisher:
        dashboard.send(json.dumps({"type": "hello", "token": hub.token}))
        dashboard.send(json.dumps({"type": "subscribe", "id": 1, "channels": [channel]}))
        types: list[str] = []
        while "subscribed" not in types:
            types += [message["type"] for message in json.loads(dashboard.recv(20))]
        publisher.publish_text(channel, '{"price":1.10}')
        assert '"data":{"price":1.10}' in str(dashboard.recv(20))


def test_event_stream(proxy: ReverseProxy, hub: HubProcess, channel: str) -> None:
    """Events come as they happen: no proxy keeps them to itself until it has enough."""
    asked = {"params": {"channel": channel}, "headers": hub.headers}
    with proxy.http() as http, RawSession(hub) as publisher, http.stream("GET", "/events", **asked) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        for number in range(3):
            publisher.publish_text(channel, str(number))
            data = next(line for line in lines if line.startswith("data:"))
            assert json.loads(data.removeprefix("data:")) == {"channel": channel, "data": number}


def test_cookies_are_secure(proxy: ReverseProxy) -> None:
    handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
    with proxy.http() as http:
        reply = http.post("/statistics/v3/notifications", json=[{**handshake, "ext": {"authentication": TOKEN}}])
        names = {cookie.partition("=")[0]: cookie.split("; ")[1:] for cookie in reply.headers.get_list("set-cookie")}
    assert set(names) == {"STATISTICS_SESSIONID", "BAYEUX_BROWSER"}
    assert all("Secure" in attributes for attributes in names.values())


def test_sign_in_from_the_own_page_and_from_a_foreign_one(proxy: ReverseProxy, hub: HubProcess) -> None:
    with proxy.http() as http:
        foreign = http.post("/api/v1/sign-in", json={"token": hub.token}, headers={"Origin": "https://elsewhere.example"})
        own = http.post("/api/v1/sign-in", json={"token": hub.token}, headers={"Origin": proxy.url})
        assert (foreign.status_code, own.status_code) == (403, 200)
        assert "Secure" in own.headers["set-cookie"]
        assert http.get("/api/v1/me").json()["data"]["tenant"] == "demo"


def test_large_body(proxy: ReverseProxy, hub: HubProcess) -> None:
    """Events of more than a megabyte in one request."""
    event = {"specversion": "1.0", "source": proxy.url, "type": "cx.agent.ready", "data": {"agentId": "behind-a-proxy"}}
    lines = "\n".join(json.dumps({**event, "id": str(number), "comment": "x" * 20}) for number in range(MANY_EVENTS))
    with proxy.http() as http:
        reply = http.post("/ingest/v1/events", content=lines, headers={**hub.headers, "Content-Type": "application/x-ndjson"})
    assert len(lines) > 1024 * 1024
    assert reply.status_code == 200, reply.text[:500]


@pytest.mark.parametrize("offer", ["h2c", "foo", "h2c, websocket"])
@pytest.mark.parametrize("at_once", [True, False], ids=["one segment", "two segments"])
def test_an_offer_of_another_protocol_hides_no_request(proxy: ReverseProxy, hub: HubProcess, offer: str, *, at_once: bool) -> None:
    """The body of a request that offers another protocol is its body, also where the proxy sends it to the hub later than the head."""
    hidden = b"POST /api/v1/sign-out HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    head = f"POST /cometd HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {offer}\r\nContent-Length: {len(hidden)}\r\n\r\n"
    following = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    before = metric(hub, 'hub_bayeux_errors_total{reason="bad_request"}')
    with socket.create_connection(("localhost", proxy.port)) as plain, proxy.trust.wrap_socket(plain, server_hostname="localhost") as tls:
        tls.settimeout(20)
        if at_once:
            tls.sendall(head.encode() + hidden)
        else:
            tls.sendall(head.encode())
            time.sleep(0.1)
            tls.sendall(hidden)
        tls.sendall(following)
        answer = b""
        while data := tls.recv(65536):
            answer += data
    assert [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)] == [400, 200]
    assert b"JSON" in answer  # the hidden request is what is no JSON
    assert metric(hub, 'hub_bayeux_errors_total{reason="bad_request"}') == before + 1


def test_proxies_pass_websocket_on_and_no_other_offer(proxy: ReverseProxy, hub: HubProcess) -> None:
    ignored = metric(hub, "hub_http_upgrades_ignored_total")
    with proxy.http() as http:
        for offer in ("h2c", "foo"):
            answer = http.get("/livez", headers={"Upgrade": offer, "Connection": "Upgrade"})
            assert answer.status_code == 200
    assert metric(hub, "hub_http_upgrades_ignored_total") == ignored


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")  # the browser's own loop
async def test_browser(proxy: ReverseProxy, browser: Browser, channel: str) -> None:
    """cometd.js in Chromium, which speaks HTTP/2 to the proxy, over both transports."""
    context = await browser.new_context(ignore_https_errors=True)
    for transport in ("websocket", "long-polling"):
        page = await open_page(context, proxy.url, proxy.url, transport)
        assert (await page.evaluate("props => window.handshake(props)", {"ext": {"authentication": TOKEN}}))["successful"]
        assert (await page.evaluate("channel => window.subscribe(channel)", channel))["successful"]
        assert (await page.evaluate("channel => window.publish(channel, 'x')", channel))["successful"]
        await page.wait_for_function("window.received.length === 1")
    await context.close()


def test_hub_restarts_behind_the_proxy(clients: dict[str, Puppet], hub: HubProcess, channel: str) -> None:
    """The proxy answers 502 or 503 meanwhile; every client comes back and is subscribed again."""
    for client in clients.values():
        assert client.call("subscribe", channel)["successful"]
    hub.kill9()
    hub.start()
    deaf = set(clients)
    end = time.monotonic() + BACK_WITHIN_S
    with RawSession(hub) as publisher:
        while deaf and time.monotonic() < end:
            publisher.send(publisher.message(channel, {"anybody": "there?"}))
            time.sleep(0.1)
            deaf = {name for name in deaf if not heard_on(clients[name], channel)}
    assert deaf == set()


def metric(hub: HubProcess, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", hub.get("/metrics").text, re.MULTILINE)
    assert found is not None, f"/metrics has no {name}"
    return float(found[1])


def heard_on(client: Puppet, channel: str) -> list[Any]:
    return [event for event in client.waiting("message") if event["message"]["channel"] == channel]


@pytest.mark.long
def test_silence(proxy: ReverseProxy, clients: dict[str, Puppet], hub: HubProcess, channel: str) -> None:
    """Two minutes in which nothing happens: the sessions and the sockets are the same after them."""
    before = {name: client.call("status")["clientId"] for name, client in clients.items()}
    with websocket(proxy.url.replace("https", "wss") + "/ws", ssl=proxy.trust, ping_interval=None) as dashboard:
        dashboard.send(json.dumps({"type": "hello", "token": hub.token}))
        dashboard.recv(20)
        time.sleep(120)
        dashboard.send(json.dumps({"type": "ping", "id": 1}))
        assert json.loads(dashboard.recv(20)) == [{"type": "pong", "id": 1}]
    assert {name: client.call("status")["clientId"] for name, client in clients.items()} == before
    for client in clients.values():
        assert client.call("subscribe", channel)["successful"]
        assert client.call("publish", channel, {"still": "here"})["successful"]
        assert client.message(channel)["data"] == {"still": "here"}
