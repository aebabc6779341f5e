"""Who is let in (docs/protocol/credentials.md). The rules are the hub's own: Bayeux leaves credentials to the server."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.delivery import succeeded
from tests.conformance.rules import ALL, CALLBACK_POLLING, CHOICE, LONG_POLLING, WEBSOCKET, rule

UNKNOWN = "402::session_unknown"
DENIED = "403::handshake_denied"
STATISTICS = "/statistics/v3/notifications"
BAD_TOKEN = ("Authorization", "Bearer nobody-has-this-token")
BAD_KEY = ("x-api-key", "nobody-has-this-key")
SENDS_HEADERS = [WEBSOCKET, LONG_POLLING]


def bearer(token: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


@rule("C2.ext.bad", "a handshake with a bad ext.authentication is denied: 403::handshake_denied, reconnect none", CHOICE, ALL)
async def test_bad_ext(new_client: Any) -> None:
    for wrong in ({"token": "nobody-has-this"}, {"apiKey": "nobody-has-this"}, {}, {"token": ""}, {"token": 1}, "text"):
        client = new_client(token=None)
        reply = await client.handshake(ext={"authentication": wrong})
        assert (reply["successful"], reply["error"]) == (False, DENIED), wrong
        assert (set(reply["advice"]), reply["advice"]["reconnect"]) == ({"reconnect", "interval", "timeout"}, "none")


@rule("C2.ext.token", "a handshake with a good ext.authentication token opens a session", CHOICE, ALL)
async def test_good_ext(server: Any, new_session: Any, channel: str) -> None:
    client = await new_session(token=server.make_token("ana"))
    await succeeded(client.subscribe(channel), client.publish(channel, 1))
    assert [event["data"] for event in await client.receive()] == [1]


@rule(
    "C2.header.bad", "bad header credentials are answered by the handshake reply on /cometd: 403::handshake_denied", CHOICE, SENDS_HEADERS
)
async def test_bad_headers(new_client: Any) -> None:
    for header in (BAD_TOKEN, BAD_KEY):
        reply = await new_client(token=None, headers=[header]).handshake()
        assert (reply["successful"], reply["error"], reply["advice"]["reconnect"]) == (False, DENIED, "none")


@rule("C2.header.first", "bad header credentials are refused, not skipped, beside a good ext.authentication", CHOICE, SENDS_HEADERS)
async def test_first_credential_decides(server: Any, new_client: Any) -> None:
    reply = await new_client(token=server.make_token("ana"), headers=[BAD_TOKEN]).handshake()
    assert (reply["successful"], reply["error"]) == (False, DENIED)


@rule(
    "C2.statistics.status",
    "on the statistics path bad header credentials are answered by HTTP status: 401, 403 for a key",
    CHOICE,
    [LONG_POLLING],
)
async def test_status(new_client: Any) -> None:
    for header, status in ((BAD_TOKEN, 401), (BAD_KEY, 403)):
        client = new_client(token=None, path=STATISTICS, headers=[header])
        response = await client.post(json.dumps([client.handshake_message()]).encode())
        assert response.status == status


@rule(
    "C2.statistics.socket", "on the statistics path a WebSocket is accepted, and bad credentials are the handshake's", CHOICE, [WEBSOCKET]
)
async def test_statistics_socket(new_client: Any) -> None:
    reply = await new_client(token=None, path=STATISTICS, headers=[BAD_TOKEN]).handshake()
    assert (reply["successful"], reply["error"]) == (False, DENIED)


@rule("C2.header.session", "a session made by header credentials answers only to requests of the same caller", CHOICE, [LONG_POLLING])
async def test_header_session(server: Any, new_session: Any, channel: str) -> None:
    own, other = server.make_token("ana"), server.make_token("bob")
    client = await new_session(token=None, headers=bearer(own))
    assert (await client.subscribe(channel))["successful"] is True
    for headers in ([], bearer(other), [BAD_TOKEN]):
        client.headers = headers
        assert (await client.subscribe(channel))["error"] == UNKNOWN, headers
    client.headers = bearer(own)
    client.cookies.clear()
    assert (await client.subscribe(channel))["successful"] is True


@rule(
    "C2.ext.session",
    "a session made by ext.authentication answers to its cookie or to the same caller, and to nobody else",
    CHOICE,
    [LONG_POLLING],
)
async def test_ext_session(server: Any, new_session: Any, channel: str) -> None:
    client = await new_session(token=server.make_token("ana"))
    assert (await client.subscribe(channel))["successful"] is True
    client.cookies.clear()
    assert (await client.subscribe(channel))["error"] == UNKNOWN
    client.headers = bearer(server.make_token("bob"))
    assert (await client.subscribe(channel))["error"] == UNKNOWN
    client.headers = bearer(server.make_token("ana"))
    assert (await client.subscribe(channel))["successful"] is True


@rule("C2.ext.new-socket", "on a new WebSocket a session answers to no other caller's ext.authentication", CHOICE, [WEBSOCKET])
async def test_ext_session_on_a_new_socket(server: Any, new_session: Any, new_client: Any, channel: str) -> None:
    client = await new_session(token=server.make_token("ana"))
    identifier = client.client_id
    await client.close()
    for subject, expected in (("bob", False), ("ana", True)):
        ext = {"authentication": {"token": server.make_token(subject)}}
        reply = await new_client().subscribe(channel, clientId=identifier, ext=ext)
        assert reply["successful"] is expected, subject


@rule(
    "C2.callback.cookies", "callback-polling takes no cookies: a sign-in by header or cookie is not looked at", CHOICE, [CALLBACK_POLLING]
)
async def test_callback_takes_ext_only(server: Any, new_client: Any) -> None:
    client = new_client(token=None, headers=[("Cookie", "hub_session=forged; BAYEUX_BROWSER=" + "0" * 32)])
    assert (await client.handshake())["successful"] is True
    assert (await new_client(token=server.make_token("ana")).handshake())["successful"] is True


@rule("C2.open", "an anonymous client may not reach the product's own channels", CHOICE, ALL)
async def test_anonymous_reach(new_session: Any) -> None:
    client = await new_session(token=None)
    for name in ("/statistics/v3/updates", "/nexus/v3/interactions", "/hub/operations"):
        assert (await client.subscribe(name))["error"] == "403:denied:subscribe_denied"
        assert (await client.publish(name, 1))["error"] == "403:denied:publish_denied"
    assert (await client.subscribe("/**"))["error"] == "403:denied:subscribe_denied"
