"""The composition of one process: what it refuses to do, and that a part which fails does not keep the others from stopping."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter
from starlette.responses import Response

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.erasure import Person
from hub.eventlog.interface import LogInUseError
from hub.export import ExportCursorError, ExportPage, ExportRecord, ExportSelection, RecordKind
from hub.family import Context, Family, Parts
from hub.http.fast_routes import FastRoute
from hub.http.permits import requires
from hub.http.routing import HubRoute, HubRouter
from hub.node import Node
from hub.offers import Port
from hub.ops.settings import Settings, SettingsError
from hub.ops.usable import check_supported
from hub.security.access import AccessError
from hub.storage.lock import InUseError


async def _answer(*_: object) -> Response:
    return Response()


def _router(operation: str, router: APIRouter | None = None) -> APIRouter:
    router = APIRouter() if router is None else router

    @router.get("/acme")
    async def look(caller: Annotated[Principal, requires(operation)]) -> None:
        """Nothing."""

    return router


class Holder:
    """Notes by id: when each was written, and by whom."""

    def __init__(self) -> None:
        self.kinds = {"note": RecordKind("one note", personal=True)}
        self.notes = {"0": (1, "ana@example.com"), "1": (2, "bo@example.com"), "2": (2, "ana@example.com")}

    async def pages(self, selection: ExportSelection) -> AsyncIterator[ExportPage]:
        after = (-1, "")
        if selection.cursor:
            time, _, identifier = selection.cursor.partition(".")
            if not time.isdigit():
                raise ExportCursorError(selection.cursor)
            after = int(time), identifier
        waiting = sorted((time, each) for each, (time, _) in self.notes.items() if (time, each) > after)
        for first in range(0, len(waiting), selection.page_records):
            some = waiting[first : first + selection.page_records]
            yield ExportPage(tuple(ExportRecord("note", time, each, b"{}") for time, each in some), f"{some[-1][0]}.{some[-1][1]}")

    async def erase(self, person: Person) -> dict[str, int]:
        mine = [each for each, (_, address) in self.notes.items() if address == person.address]
        for each in mine:
            del self.notes[each]
        return {"note": len(mine)}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"role": "edge"}, {"link_listen", "redis_url", "database_url"}),  # what a node of one role needs
        ({"redis_url": "redis://localhost:6379/0"}, {"secret"}),
    ],
    ids=["role", "redis_url"],
)
def test_what_this_version_cannot_do_is_refused_by_name(changes: dict[str, object], keys: set[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        check_supported(Settings(**changes))
    assert {problem.split(":")[0] for problem in refused.value.problems} == keys


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


NAMES = Port[str]("names")


def _family(name: str, journal: list[str], *, breaks: bool = False, late: bool = False) -> Family:
    def build(context: Context) -> Parts:
        recorder = _Recorder(name, journal, breaks=breaks)
        return Parts(late_services=[recorder] if late else [], services=[] if late else [recorder], offers=[NAMES.offer(name)])

    return Family(name, build)


async def test_services_stop_in_the_reverse_order_even_when_one_fails(tmp_path: Path) -> None:
    journal: list[str] = []
    node = Node(Settings(data_dir=tmp_path), [_family("first", journal), _family("second", journal, breaks=True)])
    async with node._lifespan(None):
        assert journal == ["start first", "start second"]
    assert journal == ["start first", "start second", "stop second", "stop first"]


async def test_late_services_start_when_all_others_run(tmp_path: Path) -> None:
    journal: list[str] = []
    node = Node(Settings(data_dir=tmp_path), [_family("first", journal, late=True), _family("second", journal)])
    async with node._lifespan(None):
        assert journal == ["start second", "start first"]
    assert journal == ["start second", "start first", "stop first", "stop second"]


async def test_offers_are_found_in_the_order_of_the_families(tmp_path: Path) -> None:
    node = Node(Settings(data_dir=tmp_path), [_family("first", []), _family("second", [])])
    async with node._lifespan(None):
        assert node.context.offered(NAMES) == ["first", "second"]
        assert node.context.one(NAMES) == "first"
        assert node.context.offered(Port[str]("names")) == []
        with pytest.raises(LookupError, match=r"no family offers anything at Port\('names'\)"):
            node.context.one(Port[str]("names"))


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        (Parts(channels=[ChannelDeclaration("/acme/x", DeliveryClass.EVENT, "x", operation="/acme/read")]), "channels"),
        (Parts(routers=[_router("/acme/read")]), "routes"),
        (Parts(routers=[_router("/acme/read", HubRouter(tags=["Acme"]))]), "routes"),
        (Parts(fast_routes=[FastRoute("GET", "/acme", "/acme/read", _answer)]), "fast routes"),
    ],
    ids=["channels", "routes", "routes of the hub", "fast routes"],
)
async def test_a_family_asks_for_operations_that_a_family_has(tmp_path: Path, parts: Parts, where: str) -> None:
    with pytest.raises(AccessError, match=rf"^family acme: {where}: expected operations of /audit/read, .*; got /acme/read$"):
        Node(Settings(data_dir=tmp_path / "without"), [Family("acme", lambda _: parts)])
    node = Node(Settings(data_dir=tmp_path / "with"), [Family("acme", lambda _: parts, operations={"/acme/read": "look at it"})])
    async with node._lifespan(None):
        pass


async def test_a_family_may_offer_its_records_and_erase_a_persons(tmp_path: Path) -> None:
    """A family that offers its records, and erases a person's."""
    holder = Holder()
    family = Family("holder", lambda _: Parts(export_source=holder, eraser=holder))
    node = Node(Settings(data_dir=tmp_path), [family])
    async with node._lifespan(None):
        (source,) = (part.export_source for part in node.parts if part.export_source is not None)
        (eraser,) = (part.eraser for part in node.parts if part.eraser is not None)
        selection = ExportSelection("acme", frozenset({"note"}), 0, 10, page_records=2)
        pages = [page async for page in source.pages(selection)]
        assert [[record.id for record in page.records] for page in pages] == [["0", "1"], ["2"]]
        rest = [page async for page in source.pages(replace(selection, cursor=pages[0].cursor))]
        assert [[record.id for record in page.records] for page in rest] == [["2"]]
        with pytest.raises(ExportCursorError):
            [page async for page in source.pages(replace(selection, cursor="x"))]
        assert await eraser.erase(Person("acme", address="ana@example.com")) == {"note": 2}
        assert await eraser.erase(Person("acme", address="ana@example.com")) == {"note": 0}
        assert [[record.id for record in page.records] async for page in source.pages(selection)] == [["1"]]


def test_a_person_is_known_by_something() -> None:
    with pytest.raises(ValueError, match="expected an id, an address or a phone number, got none"):
        Person("acme")


async def test_a_second_hub_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    node = Node(Settings(data_dir=tmp_path), [])
    async with node._lifespan(None):
        with pytest.raises((InUseError, LogInUseError), match="one data folder serves one hub"):
            Node(Settings(data_dir=tmp_path), [])


async def test_an_operation_is_analysed_when_it_is_first_called_and_not_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysed: list[tuple[str, bool]] = []
    analyse_one = HubRoute.get_route_handler

    def counted(route: HubRoute) -> Any:
        analysed.append((route.path, threading.current_thread() is threading.main_thread()))
        return analyse_one(route)

    monkeypatch.setattr(HubRoute, "get_route_handler", counted)
    node = Node(Settings(data_dir=tmp_path), [])
    async with node._lifespan(None), httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://localhost") as client:
        assert analysed == []
        answers = await asyncio.gather(*(client.get(path) for path in ("/api/v1/endpoints",) * 8 + ("/nothing",)))
        assert [answer.status_code for answer in answers] == [401] * 8 + [404]
        assert (await client.put("/api/v1/endpoints")).status_code == 405
        assert analysed == [("/api/v1/endpoints", False)]


def _owner(delivery: DeliveryClass) -> Family:
    async def snapshot(*_: object) -> list[tuple[str, bytes]]:
        return []

    declaration = ChannelDeclaration("/acme/**", delivery, "for who may read messages", operation="/acme/read", snapshot=snapshot)
    return Family("owner", lambda _: Parts(channels=[declaration]), operations={"/acme/read": "look at it"})


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
