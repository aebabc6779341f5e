"""Clients of Salesforce's streaming API, as they are: each logs in with `OAuth` or `Bearer`, and counts on ``data.event.replayId``."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.raw import RawSession
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess
from tests.support.puppet import NODE_FOLDER, Puppet, PuppetProcess

LOG = {"HUB_REPLAY__CHANNELS": "/log/**"}
ALL = -2
PATIENCE_S = 30.0


@pytest.fixture
def hub(hub_process: HubFactory) -> HubProcess:
    return hub_process("--demo", environment=LOG)


def told(number: int) -> str:
    """An event in Salesforce's form, as the publisher has it."""
    return json.dumps({"event": {"createdDate": f"2026-01-01T00:00:{number:02}.000Z", "type": "created"}, "sobject": {"number": number}})


def number_of(data: dict[str, Any]) -> int:
    assert isinstance(data["event"]["replayId"], int)
    return int(data["sobject"]["number"])


@pytest.fixture(params=["jsforce", "jsforce1"])
def jsforce(request: pytest.FixtureRequest, hub: HubProcess, shared_process: Callable[..., PuppetProcess]) -> Iterator[list[Puppet]]:
    """Three clients that have loaded their library, which may take longer than a publisher's session lasts. They leave with the test."""
    library = request.param
    if not (NODE_FOLDER / "node_modules" / library).is_dir():
        pytest.skip(f"the package {library} of tests/clients/node is not installed: run `make test`")
    clients = [shared_process("jsforce.mjs").client() for _ in range(3)]
    for each in clients:
        each.call("open", {"url": hub.url, "library": library, "token": HubProcess.token})
    yield clients
    for each in clients:
        each.drop()


@pytest.mark.node
def test_jsforce(hub: HubProcess, jsforce: list[Puppet], channel: str) -> None:
    name = f"/log{channel}"
    client, later, plain = jsforce
    with RawSession(hub) as publisher:
        for number in range(3):
            publisher.publish_text(name, told(number))
        assert client.call("subscribe", name, ALL)["successful"]
        kept = [client.message()["data"] for _ in range(3)]
        assert [number_of(data) for data in kept] == [0, 1, 2]
        publisher.publish_text(name, told(3))
        assert number_of(client.message()["data"]) == 3
        assert later.call("subscribe", name, kept[1]["event"]["replayId"])["successful"]
        assert [number_of(later.message()["data"]) for _ in range(2)] == [2, 3]
        assert client.waiting("message") == []
        assert plain.call("subscribe", name, None)["successful"]
        publisher.publish_text(name, told(4))
        assert number_of(plain.message()["data"]) == 4  # it has the position, though it did not ask for it


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library calls aiohttp as older ones wanted it
async def test_aiosfstream(hub: HubProcess, channel: str) -> None:
    if importlib.util.find_spec("aiosfstream_ng") is None:
        pytest.skip("the package aiosfstream-ng is not installed: run `make test`")
    from aiosfstream_ng import Client, DefaultMappingStorage, ReplayMarker, ReplayOption
    from aiosfstream_ng.auth import AuthenticatorBase

    class Token(AuthenticatorBase):
        """Signed in already."""

        async def _authenticate(self) -> tuple[int, dict[str, Any]]:
            signed_in = {"access_token": HubProcess.token, "token_type": "Bearer", "instance_url": hub.url}
            return 200, signed_in | {"id": "me", "signature": "none", "issued_at": "0"}

    name = f"/log{channel}"
    with RawSession(hub) as publisher:
        for number in range(3):
            publisher.publish_text(name, told(number))
        markers: dict[str, ReplayMarker] = {}
        async with asyncio.timeout(PATIENCE_S), Client(Token(), replay=DefaultMappingStorage(markers, ReplayOption.ALL_EVENTS)) as client:
            await client.subscribe(name)
            assert [number_of((await client.receive())["data"]) for _ in range(2)] == [0, 1]
        # its own store of positions, which it made of the events, leads on
        publisher.publish_text(name, told(3))
        async with asyncio.timeout(PATIENCE_S), Client(Token(), replay=DefaultMappingStorage(markers, ReplayOption.NEW_EVENTS)) as client:
            await client.subscribe(name)
            assert [number_of((await client.receive())["data"]) for _ in range(2)] == [2, 3]
