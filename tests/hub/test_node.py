"""The composition of one process: what it refuses to do, and that a part which fails does not keep the others from stopping."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError
from hub.core.subscriber import Subscriber
from hub.eventlog.interface import LogInUseError
from hub.family import Context, Family, Parts
from hub.node import Node
from hub.ops.routing import HubRoute
from hub.ops.settings import Settings, SettingsError
from hub.ops.usable import check_supported
from hub.storage.lock import InUseError


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"workers": 2}, "workers"),
        ({"role": "edge"}, "role"),
        ({"redis_url": "redis://localhost:6379/0"}, "redis_url"),
    ],
)
def test_what_this_version_cannot_do_is_refused_by_name(changes: dict[str, object], key: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_supported(Settings(**changes))
    assert [problem.split(":")[0] for problem in refused.value.problems] == [key]


class _Recorder:
    def __init__(self, name: str, journal: list[str], *, breaks: bool = False) -> None:
        self.name = name
        self.journal = journal
        self.breaks = breaks

    async def start(self) -> None:
        self.journal.append(f"start {self.name}")

    async def stop(self) -> None:
        self.journal.append(f"stop {self.name}")
        if self.breaks:
            raise RuntimeError(f"{self.name} cannot stop")


def _family(name: str, journal: list[str], *, breaks: bool = False) -> Family:
    def build(context: Context) -> Parts:
        return Parts(services=[_Recorder(name, journal, breaks=breaks)], roles={"recorder": name})

    return Family(name, build)


async def test_services_stop_in_the_reverse_order_even_when_one_fails(tmp_path: Path) -> None:
    journal: list[str] = []
    node = Node(Settings(data_dir=tmp_path), [_family("first", journal), _family("second", journal, breaks=True)])
    async with node._lifespan(None):
        assert journal == ["start first", "start second"]
    assert journal == ["start first", "start second", "stop second", "stop first"]


async def test_roles_are_found_in_the_order_of_the_families(tmp_path: Path) -> None:
    node = Node(Settings(data_dir=tmp_path), [_family("first", []), _family("second", [])])
    async with node._lifespan(None):
        assert node.context.of_role("recorder") == ["first", "second"]
        assert node.context.of_role("nobody") == []


async def test_a_second_hub_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    node = Node(Settings(data_dir=tmp_path), [])
    async with node._lifespan(None):
        with pytest.raises((InUseError, LogInUseError), match="one data folder serves one hub"):
            Node(Settings(data_dir=tmp_path), [])


async def test_routes_are_compiled_before_the_port_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_one = HubRoute.get_route_handler

    def counted(route: HubRoute) -> Any:
        compiled.append(route.path)
        return compile_one(route)

    monkeypatch.setattr(HubRoute, "get_route_handler", counted)
    node = Node(Settings(data_dir=tmp_path), [])
    async with node._lifespan(None):
        assert {"/livez", "/metrics", "/api/v1/sign-in", "/api/v1/endpoints"} <= set(compiled)
        compiled.clear()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://localhost") as client:
            assert [(await client.get(path)).status_code for path in ("/livez", "/api/v1/endpoints", "/nothing")] == [200, 401, 404]
        assert compiled == []


def _owner(delivery: DeliveryClass) -> Family:
    async def snapshot(*_: object) -> list[tuple[str, bytes]]:
        return []

    declaration = ChannelDeclaration("/acme/**", delivery, "for who may read messages", operation="/messaging/read", snapshot=snapshot)
    return Family("owner", lambda _: Parts(channels=[declaration]))


@pytest.mark.parametrize("kept", ["/acme/**", "/acme/x", "/acme/*", "/**"])
async def test_a_channel_that_is_kept_by_a_setting_needs_what_its_family_says(tmp_path: Path, kept: str) -> None:
    node = Node(Settings(data_dir=tmp_path, replay={"channels": [kept]}), [_owner(DeliveryClass.EVENT)])
    async with node._lifespan(None):
        await node.security.store.add_tenant("acme")
        for role, heard in (("dashboard", False), ("admin", True)):
            _, token = await node.security.store.add_token("acme", role, [role])
            await node.security.gate.refresh()
            scope = {"type": "http", "path": "/x", "query_string": b"", "headers": [(b"authorization", f"Bearer {token}".encode())]}
            principal = (await node.security.gate.identify(scope)).principal
            assert principal is not None
            session = Subscriber(node.hub, role, principal)
            node.hub.sessions.attach(session)
            if heard:
                await node.hub.subscriptions.subscribe(session, ["/acme/x"])
            else:
                with pytest.raises(RefusedError):
                    await node.hub.subscriptions.subscribe(session, ["/acme/x"])


async def test_state_channels_that_are_to_be_kept_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"replay\.channels: expected channels that may be kept, got /acme/x: .* state channel"):
        Node(Settings(data_dir=tmp_path, replay={"channels": ["/acme/x"]}), [_owner(DeliveryClass.STATE)])


async def test_links_have_the_port_that_the_system_chose(tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []
    linked: list[str] = []

    class Early:
        """A service that makes a link as soon as it is started."""

        async def start(self) -> None:
            linked.append(node.hosts.own_url())

        async def stop(self) -> None:
            pass

    node = Node(Settings(data_dir=tmp_path, port=0), [Family("early", lambda _: Parts(services=[Early()]))])

    def ready(port: int) -> None:
        seen.append((port, node.hosts.own_url()))
        signal.raise_signal(signal.SIGTERM)

    await asyncio.wait_for(node.run(ready), 30)
    ((port, url),) = seen
    assert port != 0
    assert [url, *linked] == [f"http://localhost:{port}"] * 2
