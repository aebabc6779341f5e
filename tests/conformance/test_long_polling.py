"""Long-polling: what the transport takes, refuses and says in its headers (docs/protocol/bayeux.md#long-polling)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.conformance.delivery import succeeded
from tests.conformance.rules import CHOICE, LONG_POLLING, SHOULD, rule
from tests.conformance.wire import request

POLLING = [LONG_POLLING]
JSON = ("Content-Type", "application/json")
EVIL = ("Origin", "http://evil.example")


def body_of(client: Any, channel: str) -> bytes:
    return json.dumps([client.message("/meta/subscribe", subscription=channel)]).encode()


@rule("1.12.1", "a response is 200, application/json, an array", SHOULD, POLLING)
async def test_response(client: Any, channel: str) -> None:
    response = await client.post(body_of(client, channel))
    assert response.status == 200
    assert response.header("Content-Type").replace(" ", "").lower() in {"application/json", "application/json;charset=utf-8"}
    assert response.json()[0]["successful"] is True


@rule("1.12.2", "the content type is not looked at: any, a wrong one, or none", CHOICE, POLLING)
async def test_content_types(client: Any, channel: str) -> None:
    kinds = ("application/json", "application/json;charset=UTF-8", "text/plain", "text/json", "application/octet-stream", "nonsense")
    for headers in (*([("Content-Type", kind)] for kind in kinds), []):
        assert (await client.post(body_of(client, channel), headers)).json()[0]["successful"] is True, headers


@rule("1.12.3", "the body is UTF-8, with characters escaped or not", SHOULD, POLLING)
async def test_utf8(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    body = json.dumps([client.message(channel, data="\u00e9\u4e2d\U0001f600")], ensure_ascii=False).encode()
    events = [message for message in (await client.post(body)).json() if "data" in message]
    assert [event["data"] for event in events] == ["\u00e9\u4e2d\U0001f600"]


@rule("1.12.4", "a body in chunks is taken", SHOULD, POLLING)
async def test_chunks(client: Any, channel: str) -> None:
    body = body_of(client, channel)
    assert (await client.post([body[:1], body[1:20], body[20:]])).json()[0]["successful"] is True


@rule("1.12.5", "a body that comes slowly, in pieces, is taken", SHOULD, POLLING)
async def test_pieces(client: Any, channel: str) -> None:
    body = body_of(client, channel)
    head = (
        f"POST {client.endpoint.target()} HTTP/1.1\r\nHost: {client.endpoint.host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in client.all_headers())
    reader, writer = await client.endpoint.open()
    for piece in (head.encode()[:10], head.encode()[10:], b"\r\n" + body[:7], body[7:-1], body[-1:]):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    response = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert response.startswith(b"HTTP/1.1 200")
    assert b'"successful":true' in response.replace(b" ", b"")


@rule("1.12.6", "what is not JSON is answered with status 400", SHOULD, POLLING)
async def test_malformed(client: Any) -> None:
    for body in (
        b"",
        b"nonsense",
        b"[{",
        b'[{"channel":"/meta/connect"}',
        b"[{}]]",
        b"{'channel':'/a'}",
        b'[{"channel":"/a",}]',
        b"\xff\xfe",
    ):
        assert (await client.post(body)).status == 400, body


@rule("1.12.7", "JSON that is no array of objects is answered with status 400", SHOULD, POLLING)
async def test_not_messages(client: Any) -> None:
    for body in (b"1", b'"text"', b"null", b"true", b"[1]", b"[null]", b"[[]]", b'[{"channel":"/a"},1]'):
        assert (await client.post(body)).status == 400, body


@rule(
    "C3.json-strict", "JSON that is not strict (NaN, raw control characters, a broken escape) is answered with status 400", CHOICE, POLLING
)
async def test_strict(client: Any, channel: str) -> None:
    for data in ("NaN", "Infinity", "01", "+1", ".5", "1.", '"a\tb"', '"\\x"', '"\\ud8"', "tru", "[1,]"):
        body = f'[{{"channel":"{channel}","clientId":"{client.client_id}","data":{data}}}]'
        assert (await client.post(body.encode())).status == 400, data


@rule("C3.limits.depth", "JSON deeper than 64 levels is answered with status 400", CHOICE, POLLING)
async def test_depth(client: Any, channel: str) -> None:
    for levels, status in ((60, 200), (65, 400), (100_000, 400)):
        body = f'[{{"channel":"{channel}","clientId":"{client.client_id}","data":{"[" * levels}{"]" * levels}}}]'
        assert (await client.post(body.encode())).status == status, levels


@rule("C3.limits.request", "a body above 1 MiB is answered with status 413, announced or in chunks", CHOICE, POLLING)
async def test_oversize(client: Any) -> None:
    body = b"[" + b" " * 1024 * 1024 + b"]"
    for sent in (body, [body[:700_000], body[700_000:]]):
        assert (await client.post(sent)).status == 413


@rule("C3.limits.batch", "more than 100 messages in a request are answered with status 413, 100 are taken", CHOICE, POLLING)
async def test_batch(client: Any, channel: str) -> None:
    for count, status in ((100, 200), (101, 413)):
        messages = [client.message(channel, data=number) for number in range(count)]
        assert (await client.post(json.dumps(messages).encode())).status == status


@rule("1.12.8", "after a refused request the session goes on", SHOULD, POLLING)
async def test_session_survives(client: Any, channel: str) -> None:
    await client.post(b"nonsense")
    assert (await client.subscribe(channel))["successful"] is True


@rule("1.12.9", "the path may end with a slash or with the kind of message, which is not looked at", SHOULD, POLLING)
async def test_suffixes(client: Any, channel: str) -> None:
    for suffix in ("", "/", "/handshake", "/connect", "/disconnect"):
        response = await client.post(body_of(client, channel), suffix=suffix)
        assert response.status == 200, suffix
        assert response.json()[0]["successful"] is True


@rule("C3.suffix", "the path may have any suffix, and a query", CHOICE, POLLING)
async def test_any_suffix(client: Any, channel: str) -> None:
    for suffix in ("/publish", "/a/b", "?x=1", "/connect?x=1"):
        response = await client.post(body_of(client, channel), suffix=suffix)
        assert response.status == 200, suffix


@rule("C3.paths", "both endpoints serve, /cometd and /statistics/v3/notifications", CHOICE, POLLING)
async def test_both_paths(new_client: Any) -> None:
    for path in ("/cometd", "/statistics/v3/notifications"):
        for suffix in ("", "/", "/handshake"):
            assert (await new_client(path=path, suffix=suffix).handshake())["successful"] is True


@rule(
    "1.12.10",
    "responses are not kept by caches and not guessed at: Cache-Control no-store, X-Content-Type-Options nosniff",
    CHOICE,
    POLLING,
)
async def test_headers(client: Any, channel: str) -> None:
    for body in (body_of(client, channel), b"nonsense"):
        response = await client.post(body)
        assert "no-store" in response.header("Cache-Control")
        assert response.header("X-Content-Type-Options") == "nosniff"


@rule("1.12.11", "another method is answered with 405 and Allow", CHOICE, POLLING)
async def test_methods(client: Any) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        response = await request(client.endpoint, method, client.endpoint.target(), [JSON], b"[]")
        assert response.status == 405
        assert "POST" in response.header("Allow")


@rule("1.12.12", "OPTIONS is answered with success", SHOULD, POLLING)
async def test_options(client: Any) -> None:
    headers = [
        ("Origin", client.endpoint.url),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ]
    assert (await request(client.endpoint, "OPTIONS", client.endpoint.target(), headers)).status in {200, 204}


@rule("1.12.13", "a page of the same origin is served, with its origin and credentials allowed", CHOICE, POLLING)
async def test_own_origin(client: Any, channel: str) -> None:
    origin = ("Origin", f"http://{client.endpoint.host}")
    response = await client.post(body_of(client, channel), [JSON, origin])
    assert response.json()[0]["successful"] is True
    assert response.header("Access-Control-Allow-Origin") == origin[1]
    assert response.header("Access-Control-Allow-Credentials") == "true"
    preflight = await request(client.endpoint, "OPTIONS", client.endpoint.target(), [origin, ("Access-Control-Request-Method", "POST")])
    assert "POST" in preflight.header("Access-Control-Allow-Methods")
    assert "content-type" in preflight.header("Access-Control-Allow-Headers").lower()


@rule("C3.cors", "a page of an origin that is not allowed gets no Access-Control-Allow-Origin", CHOICE, POLLING)
async def test_foreign_origin(client: Any, channel: str) -> None:
    response = await client.post(body_of(client, channel), [JSON, EVIL])
    assert response.all("Access-Control-Allow-Origin") == []
    assert (await request(client.endpoint, "OPTIONS", client.endpoint.target(), [EVIL])).all("Access-Control-Allow-Origin") == []


@rule("1.12.14", "one connection serves many requests, also several that were sent at once", SHOULD, POLLING)
async def test_keep_alive(client: Any, channel: str) -> None:
    head = f"POST {client.endpoint.target()} HTTP/1.1\r\nHost: {client.endpoint.host}\r\nContent-Type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in client.all_headers())
    requests = []
    for number in range(3):
        body = json.dumps([client.message("/meta/subscribe", subscription=f"{channel}/{number}", id=f"n{number}")]).encode()
        last = "Connection: close\r\n" if number == 2 else ""
        requests.append(f"{head}{last}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    reader, writer = await client.endpoint.open()
    writer.write(b"".join(requests))
    answers = (await asyncio.wait_for(reader.read(), 10)).replace(b" ", b"")
    writer.close()
    await writer.wait_closed()
    positions = [answers.find(f'"id":"n{number}"'.encode()) for number in range(3)]
    assert -1 not in positions
    assert positions == sorted(positions)


@rule("1.12.15", "many clients that hold connects at once are all served", SHOULD, POLLING)
async def test_many_held(client: Any, new_session: Any, channel: str) -> None:
    sessions = [await new_session() for _ in range(20)]
    for session in sessions:
        await succeeded(session.subscribe(channel))
    held = [await session.send(session.connect_message()) for session in sessions]
    await sessions[-1].settle()
    await client.publish(channel, "all")
    for one in held:
        assert "all" in [message.get("data") for message in await one.result()]


@rule("3.3.1", "the captured conversation of CometD's client over long-polling goes through", SHOULD, POLLING)
async def test_captured_conversation(new_client: Any, channel: str) -> None:
    client = new_client()

    async def post(suffix: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        body = json.dumps([{**message, "clientId": client.client_id} for message in messages] if client.client_id else list(messages))
        replies: list[dict[str, Any]] = (await client.post(body.encode(), suffix=suffix)).json()
        return replies

    offer = {
        "id": "1",
        "version": "1.0",
        "minimumVersion": "1.0",
        "channel": "/meta/handshake",
        "advice": {"timeout": 60000, "interval": 0},
    }
    if client.token is not None:
        offer["ext"] = {"authentication": {"token": client.token}}
    (shaken,) = await post("/handshake", {**offer, "supportedConnectionTypes": ["long-polling", "callback-polling"]})
    client.client_id = shaken["clientId"]
    (connected,) = await post(
        "/connect", {"id": "4", "channel": "/meta/connect", "connectionType": "long-polling", "advice": {"timeout": 0}}
    )
    assert (connected["id"], connected["successful"]) == ("4", True)
    subscribed = await post(
        "/",
        {"id": "2", "channel": "/meta/subscribe", "subscription": f"{channel}/bar"},
        {"id": "3", "channel": "/meta/subscribe", "subscription": f"{channel}/chat/*"},
    )
    assert [(reply["id"], reply["successful"]) for reply in subscribed] == [("2", True), ("3", True)]
    held = await client.hold(id="5")
    published = await post("/", {"id": "6", "channel": f"{channel}/bar", "data": {"hi": 1}})
    assert {reply["id"] for reply in published if "data" not in reply} == {"6"}
    (said_goodbye,) = await post("/disconnect", {"id": "9", "channel": "/meta/disconnect"})
    assert (said_goodbye["id"], said_goodbye["successful"]) == ("9", True)
    assert (await held.reply())["id"] == "5"


@rule("1.12.16", "a request that is cut off in the middle harms nobody", SHOULD, POLLING)
async def test_cut_off(client: Any, channel: str) -> None:
    body = body_of(client, channel)
    _, writer = await client.endpoint.open()
    writer.write(f"POST {client.endpoint.target()} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:5])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.subscribe(channel))["successful"] is True
