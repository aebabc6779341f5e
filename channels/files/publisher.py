"""Tells what becomes of files: on the channels of the hub, and to the parts of the family that listen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import orjson

from channels.files.arns import Arns
from channels.files.changes import DELETED, EVENTS, SCANNING
from channels.files.models import Call, FileRecord
from channels.files.serializers import event_body
from channels.files.state_machine import State
from hub.core.channels import to_segment
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.hub import Hub
from hub.core.message import Topic
from hub.core.ports import Clock
from hub.offers import Port
from hub.outbox.models import OutboxEvent, Settled
from hub.outbox.operations import CHANNEL as OPERATIONS
from hub.storage.transactions import Transaction

INTERACTIONS: Final = "/nexus/v3/interactions"

CHANNELS: Final = (
    ChannelDeclaration(f"{INTERACTIONS}/**", DeliveryClass.LOG, "files and transcripts of interactions", operation="/files/read"),
)


class FileChange(NamedTuple):
    """What became of a file."""

    id: int
    """That of the outbox row: a second call with the same one has no effect."""
    tenant: str
    event: str
    """``UPLOADED``, ``SCANNING``, ``APPROVED``, ``REJECTED``, ``FAILED`` or ``DELETED``."""
    at_ms: int
    file_id: str
    name: str
    content_type: str
    size: int
    interaction_id: str | None
    participant_id: str | None
    """Who sent it, if that was a participant of a chat."""
    reason: str | None


class FileListener(Protocol):
    """A part of the family that is told what becomes of files."""

    async def file_changed(self, change: FileChange) -> None:
        """A file has changed. Called at least once for each change, in order for those of a file; if it raises, it is called again."""
        ...


FILE_LISTENERS: Final = Port[FileListener]("listeners to files")


class _CreatedBy(msgspec.Struct):
    participant: str | None = msgspec.field(name="participantId", default=None)


class _File(msgspec.Struct, rename="camel"):
    id: str
    name: str
    content_type: str
    size: int
    created_by: _CreatedBy
    interaction_id: str | None = None


class _Body(msgspec.Struct):
    event: str
    file: _File
    reason: str | None = None


_decoder: Final = msgspec.json.Decoder(_Body)


class FilePublisher:
    """The :class:`hub.outbox.models.Consumer` of the family, and its :class:`hub.outbox.example.Example`."""

    types: Collection[str] = (*EVENTS, SCANNING)
    example_types: tuple[str, ...] = tuple(EVENTS)

    __slots__ = ("_arns", "_clock", "_hub", "_listeners")

    def __init__(self, hub: Hub, listeners: Callable[[], Sequence[FileListener]], arns: Arns, clock: Clock) -> None:
        """``listeners`` is called when there is something to tell: not all families are built before."""
        self._hub = hub
        self._listeners = listeners
        self._arns = arns
        self._clock = clock

    async def consume(self, event: OutboxEvent) -> None:
        """See :class:`hub.outbox.models.Consumer`. Channels recognise a repeat by the event's id."""
        body = _decoder.decode(event.body)
        if event.type == DELETED and not body.file.name:
            await self._forget(event.tenant, body.file)
        if event.type != SCANNING:
            key = f"outbox-{event.id}"
            await self._hub.publisher.emit(event.tenant, OPERATIONS, event.body, idempotency_key=key)
            if body.file.interaction_id is not None:
                await self._hub.publisher.emit(event.tenant, files_channel(body.file.interaction_id), event.body, idempotency_key=key)
        file = body.file
        change = FileChange(
            event.id,
            event.tenant,
            body.event,
            event.at_ms,
            file.id,
            file.name,
            file.content_type,
            file.size,
            file.interaction_id,
            file.created_by.participant,
            body.reason,
        )
        for listener in self._listeners():
            await listener.file_changed(change)

    async def _forget(self, tenant: str, file: _File) -> None:
        """Have the channels forget a file that was erased with its sender: its event has no name."""

        def is_of(data: bytes) -> bool:
            return file.id.encode() in data and orjson.loads(data).get("file", {}).get("id") == file.id

        channels = [OPERATIONS] if file.interaction_id is None else [OPERATIONS, files_channel(file.interaction_id)]
        for channel in channels:
            await self._hub.log.erase(Topic(tenant, "", channel), is_of)

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Do nothing: the outcome of a webhook does not change its file."""

    def example(self, event_type: str) -> bytes:
        """See :class:`hub.outbox.example.Example`."""
        now_ms = self._clock.wall_ms()
        tenant = "example"
        identifier = "00000000-0000-4000-8000-000000000000"
        made = FileRecord(
            number=0,
            id=identifier,
            tenant=tenant,
            call=Call.ATTACHED,
            resource=self._arns.contact(tenant, identifier),
            interaction_id=identifier,
            name="example.txt",
            size=5,
            content_type="text/plain",
            state=State.STARTED,
            created_by='{"AWSIdentityArn":"arn:aws:iam::000000000000:user/example"}',
            tags={},
            created_ms=now_ms,
            link_ends_ms=now_ms,
            uploaded_ms=None,
            checking_ms=None,
            completed_by=None,
            decided_ms=None,
            reason="an example" if EVENTS[event_type] in ("REJECTED", "FAILED") else None,
            md5=None,
            sha256=None,
            key=None,
        )
        return event_body(EVENTS[event_type], made, self._arns)


def files_channel(interaction_id: str) -> str:
    """The channel on which it is told what becomes of the files of an interaction."""
    return f"{INTERACTIONS}/{to_segment(interaction_id)}/files"
