"""Publishes the messages of a request. Each succeeds or fails by itself; messages of one channel keep their order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub
from hub.core.ports import Clock, Loop
from hub.core.principal import Principal, subject_audience
from hub.core.time_slice import TimeSlice
from hub.eventlog.interface import EventLogError
from hub.publishing.recent_ids import WINDOW_S, Answer, Key, OtherContentError, PublishCounters, RecentIds
from hub.publishing.requests import Publication

BATCH: Final = 64
"""Messages that are published at once: the log records many of them in one commit."""

Outcome = Answer | RefusedError | OtherContentError
"""The result of a message: its position, or the error because of which it was not published."""


class PublishService:
    """The publish service of one process."""

    __slots__ = ("_hub", "_ids", "counters")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.counters = PublishCounters()
        self._ids = RecentIds(hub.clock, hub.limits, self.counters)

    @property
    def clock(self) -> Clock:
        """The clock of the hub."""
        return self._hub.clock

    @property
    def loop(self) -> Loop:
        """The event loop of the hub."""
        return self._hub.loop

    @property
    def ids(self) -> int:
        """Number of remembered ids."""
        return len(self._ids)

    async def publish(self, principal: Principal, publications: Sequence[Publication]) -> list[Outcome]:
        """Publish messages. Returns for each its position (None on a channel without a log) or the error because of which it was not
        published. When this returns, messages of log channels are in the log.
        """
        outcomes: list[Outcome] = []
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        # all permissions are checked first, so that awaiting a check cannot change the order of the messages
        checked: list[Publication | RefusedError] = []
        for publication in publications:
            checked.append(await self._checked(principal, publication))
            await time_slice.checkpoint()
        if checked:  # the first one alone: before the first message of a tenant, the newest position of its log is read
            outcomes.append(await self._outcome(principal, checked[0]))
        for start in range(1, len(checked), BATCH):
            outcomes += await asyncio.gather(*(self._outcome(principal, each) for each in checked[start : start + BATCH]))
            await time_slice.checkpoint()
        return outcomes

    async def _checked(self, principal: Principal, publication: Publication) -> Publication | RefusedError:
        try:
            await self._hub.publisher.check_publish(principal, publication.channel)
        except RefusedError as refused:
            return refused
        return publication

    async def _outcome(self, principal: Principal, checked: Publication | RefusedError) -> Outcome:
        if isinstance(checked, RefusedError):
            return checked
        try:
            return await (self._publish_once(principal, checked) if checked.id else self._publish(principal, checked, idempotency_key=""))
        except (RefusedError, OtherContentError) as refused:
            return refused

    async def _publish_once(self, principal: Principal, item: Publication) -> Answer:
        key = Key(principal.tenant, principal.subject, item.id)
        content = _digest(item.channel.encode(), item.subject.encode(), item.data)
        answer, new = self._ids.begin(key, content)
        if not new:
            return await asyncio.shield(answer)
        # the log knows the id too: if the hub restarts, the publisher gets no answer and sends the message again
        idempotency_key = (
            f"publish-{_digest(principal.subject.encode(), item.id.encode()).hex()}-{self._hub.clock.wall_ms() // (WINDOW_S * 1000)}"
        )
        try:
            position = await self._publish(principal, item, idempotency_key=idempotency_key)
        except BaseException as error:
            self._ids.failed(key)
            answer.set_exception(error if isinstance(error, RefusedError) else RefusedError(WireError.UNAVAILABLE, channel=item.channel))
            answer.exception()  # nobody may be waiting for it
            raise
        answer.set_result(position)
        return position

    async def _publish(self, principal: Principal, item: Publication, *, idempotency_key: str) -> Answer:
        if item.subject:
            return await self._publish_to_subject(principal, item, idempotency_key=idempotency_key)
        return await self._hub.publisher.publish(principal, item.channel, item.data, idempotency_key=idempotency_key)

    async def _publish_to_subject(self, principal: Principal, item: Publication, *, idempotency_key: str) -> Answer:
        """Publish to all logins of one subject of the publisher's tenant, and to nobody else."""
        hub = self._hub
        await hub.publisher.check_publish(principal, item.channel)
        try:
            async with hub.subjects.addressed(principal.tenant, item.subject, lambda: TimeSlice(hub.clock, hub.loop)):
                return await hub.publisher.emit(
                    principal.tenant, item.channel, item.data, audience=subject_audience(item.subject), idempotency_key=idempotency_key
                )
        except EventLogError as error:
            raise RefusedError(WireError.UNAVAILABLE, channel=item.channel) from error


def _digest(*parts: bytes) -> bytes:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(b"%d:%b" % (len(part), part))
    return made.digest()
