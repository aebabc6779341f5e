"""The WebSocket transport: frames, pushes, close codes (docs/protocol/bayeux.md#websocket)."""

from __future__ import annotations

import json
from typing import Any

from websockets.asyncio.client import connect

from tests.conformance.clients import is_reply
from tests.conformance.delivery import succeeded
from tests.conformance.expiry import expired
from tests.conformance.rules import CHOICE, SHOULD, WEBSOCKET, rule

SOCKET = [WEBSOCKET]


@rule("1.14.1", "the handshake may be done on the WebSocket, without any HTTP before it", SHOULD, SOCKET)
async def test_handshake(new_client: Any) -> None:
    assert (await new_client().handshake())["successful"] is True


@rule("1.14.2", "frames are text, each an array of messages", SHOULD, SOCKET)
async def test_frames(new_client: Any) -> None:
    client = new_client()
    async with connect(client.endpoint.websocket_url, proxy=None) as socket:
        await socket.send(json.dumps([client.handshake_message()]))
        frame = await socket.recv()
    assert isinstance(frame, str)
    assert isinstance(json.loads(frame), list)


@rule("1.14.3", "the path may end with a slash", SHOULD, SOCKET)
async def test_paths(new_client: Any) -> None:
    for suffix in ("", "/"):
        assert (await new_client(suffix=suffix).handshake())["successful"] is True


@rule("C3.paths.socket", "both endpoints serve WebSockets, with any suffix", CHOICE, SOCKET)
async def test_both_paths(new_client: Any) -> None:
    for path in ("/cometd", "/statistics/v3/notifications"):
        for suffix in ("", "/", "/connect"):
            assert (await new_client(path=path, suffix=suffix).handshake())["successful"] is True


@rule("1.14.4", "no sub-protocol is asked for or chosen", SHOULD, SOCKET)
async def test_sub_protocol(new_client: Any) -> None:
    client = new_client()
    await client.open()
    assert client.connection.subprotocol is None


@rule("1.14.5", "a client that offers permessage-deflate is served, whether it is taken up or not", SHOULD, SOCKET)
async def test_compression(new_client: Any) -> None:
    client = new_client()
    async with connect(client.endpoint.websocket_url, compression="deflate", proxy=None) as socket:
        await socket.send(json.dumps([client.handshake_message()]))
        assert json.loads(await socket.recv())[0]["successful"] is True


@rule("1.14.6", "events are pushed as they come, also without a connect and beside a held one", SHOULD, SOCKET)
async def test_push(new_client: Any, new_session: Any, channel: str) -> None:
    client = new_client()
    await client.handshake()
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    await publisher.publish(channel, "before the first connect")
    assert [event["data"] for event in await client.receive()] == ["before the first connect"]
    await client.connect()
    await publisher.publish(channel, "between connects")
    assert [event["data"] for event in await client.receive()] == ["between connects"]
    held = await client.hold()
    await publisher.publish(channel, "beside a held connect")
    assert [event["data"] for event in await client.receive()] == ["beside a held connect"]
    assert not held.done


@rule("1.14.7", "other messages are answered while a connect is held on the same WebSocket", SHOULD, SOCKET)
async def test_beside_a_held_connect(client: Any, channel: str) -> None:
    held = await client.hold()
    assert (await client.subscribe(channel))["successful"] is True
    assert (await client.publish(f"{channel}/x", 1))["successful"] is True
    assert not held.done


@rule("1.14.8", "a frame that arrives in fragments is one message", SHOULD, SOCKET)
async def test_fragments(new_client: Any) -> None:
    client = new_client()
    text = json.dumps([client.handshake_message()])
    async with connect(client.endpoint.websocket_url, proxy=None) as socket:
        await socket.send([text[:1], text[1:10], text[10:]])
        assert json.loads(await socket.recv())[0]["successful"] is True


@rule("1.14.9", "a ping is answered with its payload (RFC 6455 section 5.5.3)", SHOULD, SOCKET)
async def test_ping(client: Any) -> None:
    assert await (await client.connection.ping(b"conformance")) >= 0


@rule("C3.close.malformed", "what is no JSON array of objects closes the WebSocket with 4400", CHOICE, SOCKET)
async def test_malformed(new_client: Any) -> None:
    for text in (
        "nonsense",
        "[{",
        "1",
        "[1]",
        '"x"',
        "null",
        "",
        '[{"channel":"/a"},1]',
        '[{"channel":"/a","data":NaN}]',
        "[" * 65 + "]" * 65,
    ):
        client = new_client()
        await client.open()
        await client.connection.send(text)
        assert (await client.closed())[0] == 4400, text


@rule("1.14.10", "what is not JSON ends the WebSocket, not the server", SHOULD, SOCKET)
async def test_malformed_ends_the_socket(new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    await client.connection.send("nonsense")
    assert (await client.closed())[0] != 1000
    assert (await new_client().handshake())["successful"] is True


@rule("C3.close.binary", "a binary frame that is no JSON closes the WebSocket with 4400", CHOICE, SOCKET)
async def test_binary(client: Any) -> None:
    await client.connection.send(b"\x00\x01\x02\xff")
    assert (await client.closed())[0] == 4400


@rule("C3.close.large", "more than 1 MiB closes the WebSocket with 1009", CHOICE, SOCKET)
async def test_too_large(client: Any) -> None:
    await client.connection.send("[" + " " * 1024 * 1024 + "]")
    assert (await client.closed())[0] == 1009


@rule("C3.close.batch", "more than 100 messages in a frame close the WebSocket with 1009", CHOICE, SOCKET)
async def test_batch(client: Any, channel: str) -> None:
    await client.connection.send(json.dumps([client.message(channel, data=number) for number in range(101)]))
    assert (await client.closed())[0] == 1009


@rule("1.14.11", "a session survives its WebSocket: a new one goes on with it", CHOICE, SOCKET)
async def test_session_survives(client: Any, new_client: Any, channel: str) -> None:
    again = new_client()
    again.client_id = client.client_id
    await client.connection.send("nonsense")
    await client.closed()
    assert (await again.subscribe(channel))["successful"] is True


@rule("C3.socket-closes", "a session whose WebSocket is closed while a connect is held ends after maxInterval", CHOICE, SOCKET)
async def test_expiry_after_close(server: Any, client: Any, new_client: Any) -> None:
    await client.hold()
    again = new_client()
    again.client_id = client.client_id
    await client.close()
    assert (await expired(server, again))["error"].startswith("402:")


@rule("1.14.12", "a new WebSocket takes over at its first message of any kind, also while the old one is still open", SHOULD, SOCKET)
async def test_takes_over(client: Any, new_client: Any, new_session: Any, channel: str) -> None:
    again = new_client()
    again.client_id = client.client_id
    await succeeded(client.subscribe(channel), again.subscribe(f"{channel}/other"))
    await (await new_session()).publish(channel, 1)
    assert [event["data"] for event in await again.receive()] == [1]
    await client.settle()
    assert list(client.events) == []


@rule("1.14.13", "the end of the old WebSocket does not end the session that a new one has taken over", SHOULD, SOCKET)
async def test_old_socket_ends(client: Any, new_client: Any, new_session: Any, channel: str) -> None:
    again = new_client()
    again.client_id = client.client_id
    await succeeded(client.subscribe(channel))
    held = await again.hold()
    await client.close()
    await (await new_session()).publish(channel, 1)
    assert [event["data"] for event in await again.receive()] == [1]
    assert (await held.reply())["successful"] is True


@rule("1.14.14", "one WebSocket may carry several sessions' requests; each is answered for its own clientId", CHOICE, SOCKET)
async def test_two_sessions_on_a_socket(client: Any, channel: str) -> None:
    first = client.client_id
    await client.start()
    await succeeded(client.subscribe(f"{channel}/1", clientId=first), client.subscribe(f"{channel}/2"))


@rule("1.14.15", "many messages that come at once arrive all, in order, none twice", SHOULD, SOCKET)
async def test_burst(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    for start in range(0, 500, 100):
        await publisher.exchange(*(publisher.message(channel, data=number) for number in range(start, start + 100)))
    assert [event["data"] for event in await client.receive(500)] == list(range(500))


@rule("1.14.16", "the same socket takes a new handshake after 402", SHOULD, SOCKET)
async def test_new_handshake_after_402(new_client: Any) -> None:
    client = new_client()
    reply = await client.connect(clientId="0000000000000000000000")
    assert (reply["successful"], reply["advice"]["reconnect"]) == (False, "handshake")
    await client.start()


@rule("3.4.1", "the captured conversation of CometD's client over a WebSocket goes through", SHOULD, SOCKET)
async def test_captured_conversation(new_client: Any, channel: str) -> None:
    client = new_client()
    shaken = await client.handshake(id="1", advice={"timeout": 60000, "interval": 0})
    assert (shaken["id"], shaken["successful"]) == ("1", True)
    assert (await client.subscribe(channel, id="2"))["id"] == "2"
    assert (await client.connect(id="3", timeout=0))["id"] == "3"
    held = await client.hold(id="4", timeout=1000)
    messages = await client.exchange(client.message(channel, id="6", data={"hi": 1}))
    assert [reply["id"] for reply in messages if is_reply(reply)] == ["6"]
    assert [event["data"] for event in await client.receive()] == [{"hi": 1}]
    assert (await held.reply())["id"] == "4"
    assert (await client.disconnect(id="8"))["id"] == "8"
