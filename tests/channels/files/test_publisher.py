"""Who is told what becomes of files, and once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from channels.families import FAMILIES
from channels.files.changes import EVENTS
from channels.files.publisher import FILE_LISTENERS, FileChange, FilePublisher
from hub.core.errors import RefusedError
from hub.family import Parts
from hub.node import Node
from hub.ops.settings import model_of
from hub.outbox.models import ASKING_ENDPOINTS, Endpoint, OutboxEvent
from tests.channels.files.support import CONTACT, PNG, World
from tests.support.ways import listener


class Listener:
    """A part of the family that is told; the first time it fails."""

    def __init__(self) -> None:
        self.changes: list[FileChange] = []
        self.faults = 1

    async def file_changed(self, change: FileChange) -> None:
        if self.faults:
            self.faults -= 1
            raise RuntimeError("not now")
        self.changes.append(change)


async def test_parts_of_the_family_hear_of_each_change_in_order(world: World) -> None:
    heard = Listener()
    world.context.parts.append(Parts(offers=[FILE_LISTENERS.offer(heard)]))
    file = await world.complete(
        await world.uploaded("a.txt", PNG, call="participant", created_by="p-1", resource=CONTACT, interaction_id="4712")
    )
    await world.files.delete("acme", file.id)
    await world.until(lambda: len(heard.changes) == 3)
    assert [each.event for each in heard.changes] == ["UPLOADED", "REJECTED", "DELETED"]
    first, second, _ = heard.changes
    assert first.id < second.id
    assert (first.tenant, first.file_id, first.interaction_id, first.participant_id) == ("acme", file.id, "4712", "p-1")
    assert (first.name, first.size, first.reason) == ("a.txt", len(PNG), None)
    assert second.reason == file.reason
    await world.tells(file, "UPLOADED", "REJECTED", "DELETED", channel="/nexus/v3/interactions/4712/files")


async def test_a_change_that_is_handed_over_again_is_told_once(light: World) -> None:
    publisher = next(each for each in light.parts.outbox_consumers if isinstance(each, FilePublisher))
    file = await light.approved(resource=CONTACT, interaction_id="4712")
    await light.tells(file, "UPLOADED", "APPROVED")
    rows = await light.transactions.read(
        lambda tx: tx.rows("SELECT id, tenant, type, key, media, operation_id, trace_id, endpoint, body, at_ms, origin FROM outbox_events")
    )
    before = list(light.heard.events)
    for row in rows:
        await publisher.consume(OutboxEvent(*row[:8], bytes(row[8]), *row[9:]))
    assert light.heard.events == before


async def test_files_of_another_resource_are_told_to_administrators_alone(light: World) -> None:
    file = await light.approved()
    await light.tells(file, "UPLOADED", "APPROVED")
    assert {channel for _, channel, _ in light.heard.events} == {"/hub/operations"}


def test_webhooks_come_only_where_an_endpoint_names_the_type() -> None:
    event = OutboxEvent(1, "acme", "file.approved", "k", "", "o", "t", ASKING_ENDPOINTS, b"{}", 0)

    def wants(tenant: str = "acme", owner: str = "", **more: Any) -> bool:
        return Endpoint("e", tenant, "https://example.com", (), owner=owner, **more).wants(event)

    assert wants(types=("file.*",))
    assert wants(types=("interaction.*", "file.approved"))
    assert not wants()
    assert not wants(types=("interaction.*",))
    assert not wants(types=("file.rejected",))
    assert not wants(types=("file.*",), tenant="other")
    assert not wants(types=("file.*",), owner="messaging")


async def test_examples_are_as_the_events(light: World) -> None:
    (publisher,) = light.parts.examples
    file = await light.approved(resource=CONTACT, interaction_id="4712")
    await light.tells(file, "UPLOADED", "APPROVED")
    told = light.heard.on("/hub/operations")[-1]
    assert (
        set(publisher.example_types)
        == set(EVENTS)
        == {f"file.{each}" for each in ("uploaded", "approved", "rejected", "failed", "deleted")}
    )
    for kind in publisher.example_types:
        shown = json.loads(publisher.example(kind))
        assert shown["event"] == EVENTS[kind]
        assert shown["file"].keys() == told["file"].keys()
        assert ("reason" in shown) == (kind in ("file.rejected", "file.failed"))


@pytest.mark.parametrize(
    ("role", "may"), [("admin", True), ("supervisor", True), ("agent", False), ("dashboard", False), ("integrator", False)]
)
async def test_who_hears_of_the_files_of_an_interaction(tmp_path: Any, role: str, may: bool) -> None:
    node = Node(model_of(FAMILIES)(data_dir=tmp_path), FAMILIES)
    async with node._lifespan(None):
        await node.security.store.add_tenant("acme")
        session = await listener(node, role, "acme")
        for channel in ("/nexus/v3/interactions/4712/files", "/nexus/v3/interactions/4712/transcript"):
            if may:
                await node.hub.subscriptions.subscribe(session, [channel])
            else:
                with pytest.raises(RefusedError):
                    await node.hub.subscriptions.subscribe(session, [channel])
        node.hub.sessions.detach(session)
