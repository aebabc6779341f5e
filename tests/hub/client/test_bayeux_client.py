"""The client against the hub itself, over each of its transports."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hub.client import ALL, NEW, BayeuxClient, Message, PublishError, ReplayError, State, Subscription
from hub.client.transports import LONG_POLLING, WEBSOCKET
from tests.conftest import QUIET_CENTRE, HubFactory
from tests.support.hub_process import HubProcess
from tests.support.network import Network

WITHIN_S = 30.0
TRANSPORTS = [WEBSOCKET, LONG_POLLING]
LOG = {"HUB_REPLAY__CHANNELS": "/log/**"}
DESK = Path(__file__).parents[3] / "samples" / "extension.py"
_names = count(1)


@pytest.fixture
def channel() -> str:
    return f"/client/{next(_names)}"


def client_of(hub: HubProcess, transport: str | None = None, **options: Any) -> BayeuxClient:
    defaults: dict[str, Any] = {"token": hub.token, "backoff_s": 0.05}
    return BayeuxClient(hub.url, **(defaults | options | ({"transports": [transport]} if transport else {})))


async def take(messages: Subscription, number: int) -> list[Message]:
    async with asyncio.timeout(WITHIN_S):
        return [await anext(messages) for _ in range(number)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_publish_and_hear(demo_hub: HubProcess, channel: str, transport: str) -> None:
    async with client_of(demo_hub, transport) as client, client.subscribe(f"{channel}/**") as messages:
        await client.publish(f"{channel}/a", {"greeting": "здравствуй"})
        assert await client.publish_many((f"{channel}/b", number) for number in range(120)) == [None] * 120
        heard = await take(messages, 121)
    assert (heard[0].channel, heard[0].data) == (f"{channel}/a", {"greeting": "здравствуй"})
    assert [message.data for message in heard[1:]] == list(range(120))


async def test_the_preferred_transport_is_websocket(demo_hub: HubProcess) -> None:
    async with client_of(demo_hub) as client:
        assert client.transport == WEBSOCKET


async def test_credentials_in_the_handshake(demo_hub: HubProcess, channel: str) -> None:
    for transport in TRANSPORTS:
        async with client_of(demo_hub, transport, credentials_in="ext") as client:
            await client.publish(channel, 1)
        async with client_of(demo_hub, transport, token="", api_key=demo_hub.api_key) as client:
            await client.publish(channel, 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_present_values_come_with_the_subscription(demo_hub: HubProcess, transport: str) -> None:
    async with client_of(demo_hub, transport) as client, client.subscribe("/statistics/v3/service") as messages:
        (message,) = await take(messages, 1)
    assert message.data["data"]["serviceState"] == "AVAILABLE"


async def test_what_the_hub_refuses(demo_hub: HubProcess) -> None:
    async with client_of(demo_hub) as client:
        with pytest.raises(PublishError, match="publish_denied"):
            await client.publish("/meta/nonsense", 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("end", ["stop", "kill9"])
async def test_the_hub_restarts(hub_process: HubFactory, transport: str, end: str) -> None:
    """What is published on a log channel while a listener is away is there when it is back, once, whatever ended the hub."""
    hub = hub_process("--demo", environment=LOG)
    async with client_of(hub, transport) as listener, client_of(hub, request_timeout_s=WITHIN_S) as publisher:
        log, plain = await listener.subscribe("/log/**"), await listener.subscribe("/plain")
        await publisher.publish("/log/a", {"n": 1})
        assert [message.data["n"] for message in await take(log, 1)] == [1]
        await asyncio.to_thread(getattr(hub, end))
        await until(lambda: listener.state is not State.CONNECTED and publisher.state is not State.CONNECTED)
        await asyncio.to_thread(hub.start)
        await publisher.publish("/log/a", {"n": 2})  # perhaps before the listener is back
        await until(lambda: listener.state is State.CONNECTED)
        await publisher.publish("/log/a", {"n": 3})
        await publisher.publish("/plain", 4)
        assert [message.data["n"] for message in await take(log, 2)] == [2, 3]
        assert [message.data for message in await take(plain, 1)] == [4]
        assert (listener.rehandshakes, log.waiting, plain.waiting) == (1, 0, 0)


@pytest.fixture(scope="module")
def log_hub(tmp_path_factory: pytest.TempPathFactory) -> Any:
    hub = HubProcess(tmp_path_factory.mktemp("log-hub"), ("--demo", "--extensions", f"{DESK}:Desk"), QUIET_CENTRE | LOG)
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_replay(log_hub: HubProcess, channel: str, transport: str) -> None:
    name = f"/log{channel}"
    async with client_of(log_hub, transport) as client:
        await client.publish_many((name, number) for number in range(600))  # several pages of the log
        async with client.subscribe(name, replay=ALL) as messages:
            heard = await take(messages, 600)
        assert [message.data for message in heard] == list(range(600))
        async with client.subscribe(name, replay=heard[-2].position) as messages:
            assert [message.data for message in await take(messages, 1)] == [599]
        async with client.subscribe(name, replay=NEW) as messages:
            await client.publish(name, "new")
            assert [message.data for message in await take(messages, 1)] == ["new"]
        with pytest.raises(ReplayError, match="replayId"):
            await client.subscribe(name, replay=7)


async def test_replay_where_somebody_listens_already(log_hub: HubProcess, channel: str) -> None:
    async with client_of(log_hub) as client, client.subscribe(f"/log{channel}"):
        with pytest.raises(ValueError, match="subscribed to already"):
            await client.subscribe(f"/log{channel}", replay=ALL)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_remote_calls(log_hub: HubProcess, transport: str) -> None:
    async with client_of(log_hub, transport) as client:
        assert (await client.call("whoami", {"n": 1})) == {"tenant": "demo", "subject": "demo", "asked": {"n": 1}}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("fault", ["reset", "stall"])
async def test_a_bad_network_loses_nothing(demo_hub: HubProcess, channel: str, transport: str, fault: str) -> None:
    """With the ack extension, what is published while the connection is broken comes once, in order, in the same session."""
    with Network(demo_hub.port) as network:
        async with (
            client_of(demo_hub, transport, headers={}, max_network_delay_s=5.0) as publisher,
            BayeuxClient(network.url, token=demo_hub.token, transports=[transport], backoff_s=0.05) as listener,
            listener.subscribe(channel) as messages,
        ):
            session = listener.client_id
            for number in range(30):
                if number % 10 == 5:
                    await asyncio.to_thread(network.stall if fault == "stall" else network.reset)
                await publisher.publish(channel, number)
                if number % 10 == 9 and fault == "stall":
                    await asyncio.to_thread(network.resume)
            assert [message.data for message in await take(messages, 30)] == list(range(30))
            assert (listener.client_id, messages.waiting) == (session, 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_replay_of_what_is_heard_already(hub_process: HubFactory, transport: str) -> None:
    """Two subscriptions of a client share its session: who asks for all gets all, once and in order, and the other nothing twice."""
    hub = hub_process(environment=LOG)
    async with client_of(hub) as publisher, client_of(hub, transport) as client:
        await publisher.publish_many(("/log/a/b", number) for number in range(100))
        live = await client.subscribe("/log/a/*")
        ended = False

        async def publish_on() -> int:
            number = 100
            while not ended:
                await publisher.publish("/log/a/b", number)
                number += 1
            return number

        publishing = asyncio.create_task(publish_on())
        await take(live, 5)
        everything = await client.subscribe("/log/a/b", replay=ALL)
        heard = await take(everything, 120)
        ended = True
        most = await publishing
        heard += await take(everything, most - len(heard))
        assert [message.data for message in heard] == list(range(most))
        assert [message.data for message in await take(live, most - 105)] == list(range(105, most))
        assert (live.waiting, everything.waiting) == (0, 0)
