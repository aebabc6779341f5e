"""Pages of other origins and odd openings of WebSockets, as CometD's own suites check them (docs/protocol/bayeux.md#cometd-suites)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.conformance.delivery import succeeded
from tests.conformance.rules import LONG_POLLING, PAGES_ORIGIN, SHOULD, WEBSOCKET, hook, rule
from tests.conformance.wire import Response, request

POLLING = [LONG_POLLING]
SOCKET = [WEBSOCKET]
JSON = ("Content-Type", "application/json;charset=UTF-8")
ORIGIN = ("Origin", PAGES_ORIGIN)
UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


async def crossing(client: Any, *messages: Any) -> Response:
    """What a page of the other origin is answered."""
    response: Response = await client.post(json.dumps(messages).encode(), [JSON, ORIGIN])
    return response


def readable(response: Response) -> bool:
    """Whether a browser lets the page read the response to a request with cookies (Fetch standard, CORS check)."""
    return (response.header("Access-Control-Allow-Origin"), response.header("Access-Control-Allow-Credentials")) == (PAGES_ORIGIN, "true")


@rule("4.1.CometDCrossOriginTest.1", "the preflight of a page of an allowed origin says that it may POST JSON", SHOULD, POLLING)
@hook("cors")
async def test_preflight(client: Any) -> None:
    asked = [ORIGIN, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")]
    response = await request(client.endpoint, "OPTIONS", client.endpoint.target("/handshake"), asked)
    assert response.status in {200, 204}
    assert readable(response)
    assert "POST" in response.header("Access-Control-Allow-Methods")
    assert "content-type" in response.header("Access-Control-Allow-Headers").lower()


@rule("4.1.CometDCrossOriginTest.2", "a page of an allowed origin may read every answer, with cookies, also a refusal", SHOULD, POLLING)
@hook("cors")
async def test_page_reads_answers(client: Any, channel: str) -> None:
    for message in (
        client.handshake_message(),
        client.message("/meta/subscribe", subscription=channel),
        client.message(channel, data=1),
        client.connect_message(timeout=0),
        client.message("/meta/connect", clientId="unknown", connectionType="long-polling"),
        client.message("/meta/disconnect"),
    ):
        response = await crossing(client, message)
        assert readable(response), message
        assert len(response.json()) >= 1


@rule("4.1.CometDCrossOriginTest.3", "a connect of such a page is held, and ended by an event", SHOULD, POLLING)
@hook("cors")
async def test_page_holds_a_connect(new_session: Any, channel: str) -> None:
    page = await new_session(headers=[ORIGIN])
    await succeeded(page.subscribe(channel))
    await page.hold(timeout=30_000)
    await succeeded((await new_session()).publish(channel, "to the page"))
    assert [event["data"] for event in await page.receive()] == ["to the page"]
    assert readable(page.response)


@rule("4.1.CometDCrossOriginReHandshakeTest.1", "a page whose session is unknown shakes hands over the same transport", SHOULD, POLLING)
@hook("cors")
async def test_page_shakes_hands_again(new_session: Any, channel: str) -> None:
    page = await new_session(headers=[ORIGIN])
    await page.disconnect()
    assert (await page.connect())["advice"]["reconnect"] == "handshake"
    again = await page.start()
    assert (again["successful"], LONG_POLLING in again["supportedConnectionTypes"], readable(page.response)) == (True, True, True)
    await succeeded(page.subscribe(channel), page.publish(channel, 1))


@rule("4.1.CometDWebSocketServerProtocolTest.1", "a client that offers a sub-protocol is served without one", SHOULD, SOCKET)
async def test_sub_protocol_is_not_taken_up(client: Any) -> None:
    async with connect(client.endpoint.websocket_url, subprotocols=["bayeux"], proxy=None) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps([client.handshake_message()]))
        (reply,) = json.loads(await socket.recv())
        assert reply["successful"] is True
        assert socket.subprotocol is None


@rule(
    "4.1.CometDWebSocketHeaderRemovedTest.1",
    "an upgrade that a proxy stripped of a header is answered by an HTTP error, not held: the client falls back to long-polling",
    SHOULD,
    SOCKET,
)
@pytest.mark.parametrize("removed", ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])
async def test_upgrade_without_a_header(client: Any, new_session: Any, removed: str) -> None:
    headers = [pair for pair in UPGRADE if pair[0] != removed]
    response = await request(client.endpoint, "GET", client.endpoint.target(), headers)
    assert 400 <= response.status < 600
    await new_session(LONG_POLLING)


@rule("4.1.CometDWebSocketDifferentURLsTest.1", "a WebSocket and long-polling of one session may have URLs that differ", SHOULD, SOCKET)
async def test_urls_differ(new_session: Any, new_client: Any, channel: str) -> None:
    socket = await new_session()
    await succeeded(socket.subscribe(channel))
    publisher = new_client(LONG_POLLING, suffix="/handshake")
    await publisher.start()
    await succeeded(publisher.publish(channel, "across"))
    assert [event["data"] for event in await socket.receive()] == ["across"]
