"""Hands events to the owner of their tenant, in this process or on another node (docs/scaling.md#owners).

A call of the kind ``ingest`` carries the events of one request: its head is a :class:`_Head`, its body the events as records of the event
log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import structs

from channels.events import Event, EventSinkError, decode_event, encode_event
from channels.ingest.sequencer import NotOwnerError, Sequencer
from hub.cluster.cluster import Cluster
from hub.cluster.ownership import Ownership
from hub.cluster.ports import Call, LinkError, NodeGoneError
from hub.core.ports import Clock, Loop
from hub.core.time_slice import TimeSlice

KIND: Final = "ingest"
"""The kind of the calls."""

TRIES: Final = 2


class UncertainError(EventSinkError):
    """The owner did not answer, or the link to it broke: the events may have been taken. Those that are sent again with the same source and
    id count once.
    """


class _Head(msgspec.Struct, frozen=True, array_like=True):
    tenant: str
    past: bool


class _Taken(msgspec.Struct, tag="taken", frozen=True, array_like=True):
    outcomes: list[str]


class _Refused(msgspec.Struct, tag="refused", frozen=True, array_like=True):
    is_owner: bool
    message: str


_encoder: Final = msgspec.msgpack.Encoder()
_head_decoder: Final = msgspec.msgpack.Decoder(_Head)
_body_decoder: Final = msgspec.msgpack.Decoder(list[bytes])
_answer_decoder: Final[msgspec.msgpack.Decoder[_Taken | _Refused]] = msgspec.msgpack.Decoder(_Taken | _Refused)


@dataclass(slots=True)
class Counters:
    """What a node counts of the events that it hands to other nodes."""

    requests: int = 0
    """Requests whose events were handed to the owner of their tenant, another node."""
    events: int = 0
    """Events of these requests."""
    failed: int = 0
    """Requests that failed, since the owner could not be reached or did not answer in time."""
    no_owner: int = 0
    """Requests whose tenant had no owner."""


class OwnersSink:
    """The :class:`channels.events.EventSink` of a hub of several nodes."""

    def __init__(self, sequencer: Sequencer, *, cluster: Cluster, ownership: Ownership, clock: Clock, loop: Loop, answer_s: float) -> None:
        """``answer_s``: seconds within which another node must answer."""
        self.counters = Counters()
        self._sequencer = sequencer
        self._links = cluster.links
        self._me = cluster.nodes.me.incarnation
        self._ownership = ownership
        self._clock = clock
        self._loop = loop
        self._answer_s = answer_s
        cluster.links.serve(KIND, self.serve)

    async def accept(self, tenant: str, events: Sequence[Event], *, past: bool = False) -> list[str]:
        """See :meth:`channels.events.EventSink.accept`.

        Raises:
            EventSinkError: no node owns the tenant now, or its log could not be read or written; nothing was taken.
            UncertainError: see there.
        """
        if not events:
            return []
        body: bytes | None = None
        for _ in range(TRIES):
            owner = await self._ownership.find(tenant)
            if owner is None:
                break
            try:
                if owner.node == self._me:
                    return await self._sequencer.accept(tenant, events, past=past)
                if body is None:
                    body = await self._encode(events)
                return await self._hand_over(owner.node, tenant, body, len(events), past)
            except (NotOwnerError, NodeGoneError):
                await self._ownership.refresh()
        self.counters.no_owner += 1
        raise EventSinkError("no node takes the tenant's events now")

    async def _hand_over(self, node: str, tenant: str, body: bytes, count: int, past: bool) -> list[str]:
        self.counters.requests += 1
        self.counters.events += count
        head = _encoder.encode(_Head(tenant, past))
        try:
            raw = await self._links.ask(node, KIND, head, body, timeout_s=self._answer_s)
        except NodeGoneError:
            raise
        except (LinkError, TimeoutError) as error:
            self.counters.failed += 1
            # who sends events is not told the addresses of nodes, which the error names
            raise UncertainError("the node that takes the tenant's events did not answer") from error
        answer = _answer_decoder.decode(raw)
        if isinstance(answer, _Taken):
            return answer.outcomes
        raise EventSinkError(answer.message) if answer.is_owner else NotOwnerError(answer.message)

    async def serve(self, call: Call) -> None:
        """The handler of calls of the kind ``ingest``."""
        head = _head_decoder.decode(call.head)
        answer: _Taken | _Refused
        if not self._ownership.serves(head.tenant):
            await self._ownership.find(head.tenant)  # it may be about to
        try:
            if not self._ownership.serves(head.tenant):
                raise NotOwnerError("this node does not own the tenant")
            answer = _Taken(await self._sequencer.accept(head.tenant, await self._decode(call.body), past=head.past))
        except EventSinkError as error:
            answer = _Refused(not isinstance(error, NotOwnerError), str(error))
        await call.send(_encoder.encode(answer))

    async def _encode(self, events: Sequence[Event]) -> bytes:
        time_slice = TimeSlice(self._clock, self._loop)
        records = []
        for event in events:
            records.append(encode_event(event))
            if time_slice.used_up:
                await time_slice.checkpoint()
        return _encoder.encode(records)

    async def _decode(self, body: bytes) -> list[Event]:
        """The events. Those to which their producer gave no time get that of this node: the clocks of others may be wrong."""
        time_slice = TimeSlice(self._clock, self._loop)
        arrived_ms = self._clock.wall_ms()
        events = []
        for record in _body_decoder.decode(body):
            event = decode_event(record)
            events.append(structs.replace(event, time_ms=arrived_ms) if event.arrival else event)
            if time_slice.used_up:
                await time_slice.checkpoint()
        return events
