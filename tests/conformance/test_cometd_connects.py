"""Connects that overtake one another, carry advice, or end with the server, as CometD's own suites check them
(docs/protocol/bayeux.md#cometd-suites).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.clients import Message
from tests.conformance.conftest import OWN_ENVIRONMENT, Server
from tests.conformance.delivery import succeeded
from tests.conformance.expiry import expired, overdue_s
from tests.conformance.plugin import NOT_OFFERED_TEXT
from tests.conformance.rules import CHOICE, LONG_POLLING, SHOULD, WEBSOCKET, rule
from tests.conformance.wire import Endpoint

ACK = {"ack": True}
BETWEEN_S = 0.5
"""Between two publishes of a client that must not be taken for gone."""
TWO = (WEBSOCKET, LONG_POLLING)


@rule("4.2.CustomAdviceTest.1", "advice.interval of a connect keeps the session for that much longer", SHOULD, TWO)
async def test_interval_of_the_client(server: Any, client: Any) -> None:
    await client.connect(advice={"timeout": 0, "interval": server.max_interval_ms + 10_000})
    await asyncio.sleep(overdue_s(server))
    assert (await client.connect(timeout=0))["successful"] is True


@rule("4.2.CustomAdviceTest.2", "it holds for its own connect only", SHOULD, [LONG_POLLING])
async def test_interval_is_of_one_connect(server: Any, client: Any) -> None:
    await client.connect(advice={"timeout": 0, "interval": server.max_interval_ms + 10_000})
    await client.connect(timeout=0)
    assert (await expired(server, client))["advice"]["reconnect"] == "handshake"


@rule("4.2.MetaConnectOvertakenWithAckTest.1", "connects that overtake one another lose nothing and double nothing when ack is on", SHOULD)
async def test_overtaken_with_ack(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = new_client(), await new_session()
    client.delivers_on_connect = True
    await client.start(ext=ACK)
    await succeeded(client.subscribe(channel))
    batch = (await client.connect(timeout=0, ext={"ack": 1}))["ext"]["ack"]
    for number in range(3):
        older = await client.hold(timeout=30_000, ext={"ack": batch})
        newer = await client.hold(timeout=30_000, ext={"ack": batch})
        await succeeded(publisher.publish(channel, number))
        batch = (await newer.reply())["ext"]["ack"]
        await older.abandon()
    assert [event["data"] for event in client.events] == [0, 1, 2]


@rule("4.2.MetaConnectFailureWithAckTest.1", "what a connect that broke had with it comes again, before what is newer", SHOULD)
async def test_broken_connect_with_ack(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = new_client(), await new_session()
    client.delivers_on_connect = True
    await client.start(ext=ACK)
    await succeeded(client.subscribe(channel))
    batch = (await client.connect(timeout=0, ext={"ack": 1}))["ext"]["ack"]
    await succeeded(publisher.publish(channel, "lost"))
    await client.connect(timeout=0, ext={"ack": batch})
    client.events.clear()  # as if the response had not arrived
    await succeeded(publisher.publish(channel, "newer"))
    await client.connect(timeout=0, ext={"ack": batch})
    assert [event["data"] for event in client.events] == ["lost", "newer"]


@rule("4.2.OrphanedSessionTest.1", "a session whose client never learnt its clientId ends, and nothing with it", SHOULD, [LONG_POLLING])
async def test_orphans_end(server: Any, new_client: Any, new_session: Any, channel: str) -> None:
    orphan, other = new_client(), await new_session()
    await orphan.handshake()
    await succeeded(orphan.subscribe(channel), other.subscribe(channel))
    count = 1 + int(overdue_s(server) / BETWEEN_S)
    for number in range(count):
        await succeeded(other.publish(channel, number))
        await asyncio.sleep(BETWEEN_S)
    assert [event["data"] for event in await other.receive(count)] == list(range(count))
    assert (await orphan.connect(timeout=0))["successful"] is False


@pytest.fixture
def own_hub(server: Server, hub_process: Any) -> Server:
    """A hub that the test may stop."""
    if server.hub is None:
        pytest.skip(NOT_OFFERED_TEXT + "the suite can stop its own hub, and no other server")
    hub = hub_process("--open", environment=OWN_ENVIRONMENT | {"HUB_LIMITS__TIMEOUT_MS": "30000"})
    return Server(Endpoint(hub.url, server.endpoint.path), None, server.max_interval_ms, hub)


async def _stop_amid_connects(own_hub: Server, clients: list[Any]) -> list[Message]:
    """Stop the hub while each client has a connect held; returns their replies."""
    assert own_hub.hub is not None
    held = []
    for client in clients:
        await client.start()
        held.append(await client.hold())
    assert await asyncio.to_thread(own_hub.hub.stop) == 0
    return [await one.reply() for one in held]


@rule("4.2.ServerShutdownTest.1", "a server that stops answers each held connect: shake hands a little later", CHOICE, [LONG_POLLING])
async def test_shutdown_answers_connects(own_hub: Server, transport: str) -> None:
    clients = [own_hub.client(transport) for _ in range(5)]
    for reply in await _stop_amid_connects(own_hub, clients):
        assert (reply["successful"], reply["error"], reply["advice"]["reconnect"]) == (False, "402::session_unknown", "handshake")
        assert 0 < reply["advice"]["interval"] <= 5000


@rule("4.2.ServerShutdownTest.2", "a server that stops answers each held connect, then closes with code 1012", CHOICE, [WEBSOCKET])
async def test_shutdown_closes_sockets(own_hub: Server, transport: str) -> None:
    clients: list[Any] = [own_hub.client(transport) for _ in range(5)]
    replies = await _stop_amid_connects(own_hub, clients)
    assert [reply["advice"]["reconnect"] for reply in replies] == ["handshake"] * 5
    for client in clients:
        assert (await client.closed())[0] == 1012
        await client.close()
