"""The networks between: a laptop that sleeps, a proxy that cuts idle connections, resets, half-open sockets, slow lines."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.conftest import NodeFactory
from tests.clients.foreign import KINDS, TOKEN, Connect, Kind
from tests.clients.raw import RawSession
from tests.conftest import SMALL_CENTRE, HubFactory
from tests.support.hub_process import HubProcess
from tests.support.network import Network
from tests.support.puppet import Puppet

pytestmark = pytest.mark.node

LIMITS = {"HUB_LIMITS__TIMEOUT_MS": "1000", "HUB_LIMITS__MAX_INTERVAL_MS": "2000", "HUB_LIMITS__HELLO_TIMEOUT_S": "1"}
"""A hub that forgets a client after three seconds, so that a short sleep is a long one."""

IMPATIENT = {"configuration": {"maxNetworkDelay": 2000, "maxBackoff": 400}}
"""CometD's clients wait so long beyond the hold time before they give a request up."""

WITHIN_S = 60.0
MESSAGES = 12


@pytest.fixture(scope="module")
def impatient_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One hub with short limits for the tests of this module."""
    hub = HubProcess(tmp_path_factory.mktemp("network-hub"), environment=SMALL_CENTRE | LIMITS)
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture(scope="module")
def patient_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One hub with the limits as they come, for tests in which no session may end because a client was late: on a busy machine some need
    longer between two requests than the other hub waits.
    """
    hub = HubProcess(tmp_path_factory.mktemp("patient-hub"), ("--demo",), SMALL_CENTRE)
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture
def hub(impatient_hub: HubProcess) -> HubProcess:
    """The hub, when it has no session left of the test before."""
    until(lambda: sessions(impatient_hub) == 0, "the sessions of the last test end")
    return impatient_hub


@pytest.fixture
def network(hub: HubProcess) -> Iterator[Network]:
    with Network(hub.port) as network:
        yield network


def until(condition: Callable[[], Any], what: str, *, within_s: float = WITHIN_S) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.05)


def sessions(hub: HubProcess) -> int:
    """How many sessions the hub has, of every endpoint."""
    found = re.search(r"^hub_sessions (\S+)$", hub.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def subscribed(hub: HubProcess, network: Network, connect: Connect, channel: str, kinds: list[Kind] = KINDS) -> dict[str, Puppet]:
    """A client of each kind, all of them behind the network and subscribed."""
    clients = {}
    for kind in kinds:
        client = clients[str(kind)] = connect(hub, kind, url=network.url, **IMPATIENT)
        assert client.call("subscribe", channel)["successful"]
    return clients


def all_hear_again(hub: HubProcess, clients: dict[str, Puppet], channel: str) -> None:
    """Publish until every client has heard something: until it is back it hears nothing."""
    deaf = set(clients)
    end = time.monotonic() + WITHIN_S
    with RawSession(hub) as publisher:
        while deaf and time.monotonic() < end:
            publisher.send(publisher.message(channel, {"anybody": "there?"}))
            deaf = {name for name in deaf if not clients[name].waiting("message")}
            time.sleep(0.1)
    assert deaf == set()


def publish(hub: HubProcess, channel: str, *numbers: int) -> None:
    """Publish, by a session of its own: one that waits for long would end."""
    with RawSession(hub) as publisher:
        for number in numbers:
            replies = publisher.send(publisher.message(channel, {"number": number}))
            assert replies[-1]["successful"], replies


def heard(clients: dict[str, Puppet], expected: list[int]) -> None:
    """Wait until every client has heard as much as expected, and check that it is just that, in this order."""

    def numbers() -> dict[str, list[int]]:
        return {name: [event["message"]["data"]["number"] for event in client.waiting("message")] for name, client in clients.items()}

    end = time.monotonic() + WITHIN_S
    while any(len(found) < len(expected) for found in numbers().values()) and time.monotonic() < end:
        time.sleep(0.05)
    assert {name: found for name, found in numbers().items() if found != expected} == {}


def identities(clients: dict[str, Puppet]) -> dict[str, str]:
    """The clientId that each has now."""
    return {name: client.call("status")["clientId"] for name, client in clients.items()}


@pytest.mark.parametrize("wakes_up", ["connected", "forgotten", "reset"])
def test_laptop_sleeps(hub: HubProcess, network: Network, connect: Connect, channel: str, wakes_up: str) -> None:
    """The network stands still until the hub has given everybody up. Then it is back: with the old connections, with a router that has
    forgotten them, or with resets. Every client comes back by itself, is subscribed again, and leaves no second session behind.
    """
    # on a socket that has gone dead without a word the other libraries wait for half a minute and more
    kinds = [kind for kind in KINDS if kind.library.startswith("cometd") or wakes_up != "forgotten"]
    clients = subscribed(hub, network, connect, channel, kinds)
    with network.stalled():
        until(lambda: sessions(hub) == 0, "the hub gives the sleeping clients up")
        if wakes_up == "forgotten":
            network.forget()
        elif wakes_up == "reset":
            network.reset()
    all_hear_again(hub, clients, channel)
    until(lambda: sessions(hub) == len(clients), "one session for each client, and no more")


def test_short_stall_is_not_noticed(patient_hub: HubProcess, connect: Connect, channel: str) -> None:
    """A stall shorter than what the hub waits: same sessions, and what was published meanwhile arrives once and in order."""
    with Network(patient_hub.port) as network:
        clients = subscribed(patient_hub, network, connect, channel)
        before = identities(clients)
        with network.stalled():
            publish(patient_hub, channel, *range(MESSAGES))
        heard(clients, list(range(MESSAGES)))
        assert identities(clients) == before


def test_laptop_that_freezes(hub: HubProcess, node: NodeFactory, channel: str) -> None:
    """The client's process sleeps, and its system goes on acknowledging what the hub sends."""
    kinds = [kind for kind in KINDS if kind.library == "cometd9"]
    process = node("cometd.mjs").process
    clients = {str(kind): frozen_client(process, hub, kind, channel) for kind in kinds}
    process.freeze()
    until(lambda: sessions(hub) == 0, "the hub gives the sleeping clients up")
    process.thaw()
    all_hear_again(hub, clients, channel)
    until(lambda: sessions(hub) == len(clients), "one session for each client, and no more")


def frozen_client(process: Any, hub: HubProcess, kind: Kind, channel: str) -> Puppet:
    client = kind.open(process, hub.url, **IMPATIENT)
    assert client.call("handshake", TOKEN)["successful"]
    assert client.call("subscribe", channel)["successful"]
    return client


def test_idle_connections_are_cut(patient_hub: HubProcess, connect: Connect, channel: str) -> None:
    """A proxy between cuts what is idle for less than the hold time. The sessions live on, and nobody misses a message."""
    with Network(patient_hub.port, idle_s=0.6) as network:
        clients = subscribed(patient_hub, network, connect, channel)
        before = identities(clients)
        for number in range(4):
            enough = network.cuts + len(clients)
            until(lambda cuts=enough: network.cuts >= cuts, "the proxy cuts idle connections")  # type: ignore[misc]
            publish(patient_hub, channel, number)
            heard(clients, list(range(number + 1)))
        assert identities(clients) == before


def test_connections_are_reset(patient_hub: HubProcess, connect: Connect, channel: str) -> None:
    """Each connection is reset in the middle: the sessions live on."""
    with Network(patient_hub.port) as network:
        clients = subscribed(patient_hub, network, connect, channel)
        before = identities(clients)
        network.reset()
        publish(patient_hub, channel, 1)
        heard(clients, [1])
        assert identities(clients) == before


def test_half_open_websockets_are_closed(hub: HubProcess, network: Network, connect: Connect, channel: str) -> None:
    """The hub does not keep the socket of a client of which it hears nothing more."""
    kind = next(kind for kind in KINDS if str(kind) == "cometd9-websocket")
    connect(hub, kind, url=network.url, **IMPATIENT).call("subscribe", channel)
    (socket,) = network.forget()
    until(lambda: socket.hub_closed, "the hub closes the half-open socket")


def test_slow_line(patient_hub: HubProcess, connect: Connect, channel: str) -> None:
    """Each piece of data takes 50 ms longer, both ways. When a reply takes a fifth longer than the hold time, Faye's client gives up the
    connect, and its WebSocket with all that is on the way; with a short one a busy machine is late enough.
    """
    with Network(patient_hub.port, delay_s=0.05) as network:
        clients = subscribed(patient_hub, network, connect, channel)
        publish(patient_hub, channel, *range(MESSAGES))
        heard(clients, list(range(MESSAGES)))


@pytest.mark.long
def test_laptop_sleeps_a_minute(hub_process: HubFactory, connect: Connect, channel: str) -> None:
    """The same with the limits as they are, and the clients as they come."""
    hub = hub_process("--demo")
    with Network(hub.port) as network:
        clients = {str(kind): connect(hub, kind, url=network.url) for kind in KINDS}
        for client in clients.values():
            assert client.call("subscribe", channel)["successful"]
        with network.stalled():
            time.sleep(60)
            assert sessions(hub) == 0
        all_hear_again(hub, clients, channel)
        until(lambda: sessions(hub) == len(clients), "one session for each client, and no more")
