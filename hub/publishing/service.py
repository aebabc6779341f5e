"""Publishes the messages of a request: each for itself, those of one channel in their order."""

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
from hub.ops.envelope import ApiError
from hub.publishing.recent_ids import WINDOW_S, Answer, Key, OtherContentError, PublishCounters, RecentIds
from hub.publishing.requests import Item, Publication

AT_ONCE: Final = 64
"""Messages whose recording is awaited together: one commit of the log takes many."""

_STATUS: Final = {WireError.CHANNEL_INVALID: 400, WireError.PUBLISH_DENIED: 403, WireError.UNAVAILABLE: 503}


class PublishService:
    """Of one process."""

    __slots__ = ("_hub", "_ids", "counters")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.counters = PublishCounters()
        self._ids = RecentIds(hub.clock, hub.limits, self.counters)

    @property
    def clock(self) -> Clock:
        """The hub's."""
        return self._hub.clock

    @property
    def loop(self) -> Loop:
        """The hub's."""
        return self._hub.loop

    @property
    def ids(self) -> int:
        """How many ids are remembered."""
        return len(self._ids)

    async def publish(self, principal: Principal, items: Sequence[Item]) -> list[Answer | ApiError]:
        """Publish the messages among ``items``. What is returned has, for each, its position (None on a channel without a log) or its
        error. When it returns, messages of log channels are in the log.
        """
        answers: list[Answer | ApiError] = []
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        # may all of them be published? Asked first: from then on nothing that is awaited brings messages out of their order
        checked = []
        for item in items:
            checked.append(await self._checked(principal, item))
            await time_slice.checkpoint()
        if checked:  # alone, for before the first message of a tenant the top of its log is read
            answers.append(await self._answer(principal, checked[0]))
        for at in range(1, len(checked), AT_ONCE):
            answers += await asyncio.gather(*(self._answer(principal, item) for item in checked[at : at + AT_ONCE]))
            await time_slice.checkpoint()
        return answers

    async def _checked(self, principal: Principal, item: Item) -> Item:
        if isinstance(item, Publication):
            try:
                await self._hub.publisher.check_publish(principal, item.channel)
            except RefusedError as refused:
                return _refusal(refused)
        return item

    async def _answer(self, principal: Principal, item: Item) -> Answer | ApiError:
        if isinstance(item, ApiError):
            return item
        try:
            return await (self._publish_once(principal, item) if item.id else self._publish(principal, item, idempotency_key=""))
        except RefusedError as refused:
            return _refusal(refused)
        except OtherContentError:
            expected = f"another id, or the message that had it within the last {WINDOW_S // 60} minutes"
            return ApiError.of_field("id", expected, item.id, http_status=409)

    async def _publish_once(self, principal: Principal, item: Publication) -> Answer:
        key = Key(principal.tenant, principal.subject, item.id)
        content = _digest(item.channel.encode(), item.subject.encode(), item.data)
        answer, new = self._ids.begin(key, content)
        if not new:
            return await asyncio.shield(answer)
        # the log remembers too: a publisher that has no answer, because the hub was restarted, sends again
        idempotency_key = (
            f"publish-{_digest(principal.subject.encode(), item.id.encode()).hex()}-{self._hub.clock.wall_ms() // (WINDOW_S * 1000)}"
        )
        try:
            position = await self._publish(principal, item, idempotency_key=idempotency_key)
        except BaseException as fault:
            self._ids.failed(key)
            answer.set_exception(fault if isinstance(fault, RefusedError) else RefusedError(WireError.UNAVAILABLE, channel=item.channel))
            answer.exception()  # nobody may be waiting for it
            raise
        answer.set_result(position)
        return position

    async def _publish(self, principal: Principal, item: Publication, *, idempotency_key: str) -> Answer:
        if item.subject:
            return await self._publish_to_subject(principal, item, idempotency_key=idempotency_key)
        return await self._hub.publisher.publish(principal, item.channel, item.data, idempotency_key=idempotency_key)

    async def _publish_to_subject(self, principal: Principal, item: Publication, *, idempotency_key: str) -> Answer:
        """To all logins of one subject of the publisher's tenant, and to nobody else."""
        hub = self._hub
        await hub.publisher.check_publish(principal, item.channel)
        try:
            async with hub.subjects.addressed(principal.tenant, item.subject, lambda: TimeSlice(hub.clock, hub.loop)):
                return await hub.publisher.emit(
                    principal.tenant, item.channel, item.data, audience=subject_audience(item.subject), idempotency_key=idempotency_key
                )
        except EventLogError as fault:
            raise RefusedError(WireError.UNAVAILABLE, channel=item.channel) from fault


def _refusal(refused: RefusedError) -> ApiError:
    status = _STATUS[refused.error]
    headers = {"Retry-After": "1"} if status == 503 else None
    expected = {400: "a channel that can be published to", 403: "a channel that this credential may publish on", 503: "a log"}[status]
    got = refused.channel if status != 503 else "a fault of it"
    detail = {"field": "channel", "expected": expected, "got": got}
    return ApiError(status, f"channel: {refused.detail}", detail=detail, headers=headers)


def _digest(*parts: bytes) -> bytes:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(b"%d:%b" % (len(part), part))
    return made.digest()
