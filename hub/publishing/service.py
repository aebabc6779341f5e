"""Publishes the messages of a request. Each succeeds or fails by itself; messages of one channel keep their order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub
from hub.core.ports import Clock, Loop
from hub.core.principal import Principal, subject_audience
from hub.core.time_slice import TimeSlice
from hub.eventlog.interface import EventLogError
from hub.publishing.recent_ids import WINDOW_S, Answer, Key, OtherContentError, PublishCounters, RecentIds
from hub.publishing.requests import Publication
from hub.publishing.shared_ids import Claim, SharedIds, State
from hub.redis.shared import SharedRedis

BATCH: Final = 64
"""Messages that are published at once: the log records many of them in one commit."""

Outcome = Answer | RefusedError | OtherContentError
"""The result of a message: its position, or the error because of which it was not published."""


PATIENCE_S: Final = 5.0
"""Seconds for which a message waits while another node publishes the one with its id."""

_LOOK_AGAIN_S: Final = 0.02


class _Known(NamedTuple):
    """A message whose id this process knows."""

    answer: asyncio.Future[Answer]


class _New:
    """A message whose id this process did not know."""

    __slots__ = ("answer", "call", "claim", "content", "item", "key")

    def __init__(self, item: Publication, key: Key, content: bytes, answer: asyncio.Future[Answer]) -> None:
        self.item = item
        self.key = key
        self.content = content
        self.answer = answer
        self.call = ""
        self.claim: Claim | None = None
        """What all nodes know of the id; None where nodes share nothing, or Redis does not answer."""


class PublishService:
    """The publish service of one process."""

    __slots__ = ("_hub", "_ids", "_patience_s", "_shared", "counters")

    def __init__(self, hub: Hub, redis: SharedRedis | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """Over ``redis`` nodes share the ids of messages. ``patience_s``: seconds for which a message waits while another node publishes
        it.
        """
        self._hub = hub
        self.counters = PublishCounters()
        self._ids = RecentIds(hub.clock, hub.limits, self.counters)
        self._patience_s = patience_s
        self._shared = None if redis is None else _share(redis, hub, self.counters)

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
        # the first one alone: before the first message of a tenant, the newest position of its log is read
        for start, end in _batches(len(checked)):
            outcomes += await self._publish_together(principal, checked[start:end])
            await time_slice.checkpoint()
        return outcomes

    async def _checked(self, principal: Principal, publication: Publication) -> Publication | RefusedError:
        try:
            await self._hub.publisher.check_publish(principal, publication.channel)
        except RefusedError as refused:
            return refused
        return publication

    async def _publish_together(self, principal: Principal, checked: Sequence[Publication | RefusedError]) -> list[Outcome]:
        """Publish some messages at once, after their ids were looked up."""
        looked_up = [self._look_up(principal, item) for item in checked]
        new = [each for each in looked_up if isinstance(each, _New)]
        await self._claim(principal.tenant, new)
        try:
            return await asyncio.gather(*(self._outcome(principal, each) for each in looked_up))
        finally:
            if self._shared is not None:
                self._report(self._shared, principal.tenant, new)

    def _look_up(self, principal: Principal, item: Publication | RefusedError) -> _New | _Known | Publication | Exception:
        """What this process knows of a message's id."""
        if isinstance(item, RefusedError) or not item.id:
            return item
        key = Key(principal.tenant, principal.subject, item.id)
        content = _digest(item.channel.encode(), item.subject.encode(), item.data)
        try:
            answer, new = self._ids.begin(key, content)
        except OtherContentError as error:
            return error
        return _New(item, key, content, answer) if new else _Known(answer)

    async def _claim(self, tenant: str, new: Sequence[_New]) -> None:
        """Ask what all nodes know of the ids that are new here."""
        if self._shared is None or not new:
            return
        try:
            claims = await self._shared.begin(tenant, [(each.key, each.content) for each in new])
        except BaseException:
            for each in new:
                self._fail(each, RefusedError(WireError.UNAVAILABLE, channel=each.item.channel))
            raise
        if claims is not None:
            for each, claim in zip(new, claims.claims, strict=True):
                each.call, each.claim = claims.call, claim

    def _report(self, shared: SharedIds, tenant: str, new: Sequence[_New]) -> None:
        """Tell the other nodes how the publishing of new ids ended, without waiting for it."""
        by_call: dict[str, list[tuple[Key, Answer, bool]]] = {}
        for each in new:
            if each.claim is not None and each.claim.state is State.NEW:
                published = each.answer.done() and each.answer.exception() is None
                by_call.setdefault(each.call, []).append((each.key, each.answer.result() if published else None, published))
        for call, ended in by_call.items():
            self._hub.loop.spawn(shared.end(tenant, call, ended))

    async def _outcome(self, principal: Principal, item: _New | _Known | Publication | Exception) -> Outcome:
        try:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, _Known):
                return await asyncio.shield(item.answer)
            if isinstance(item, _New):
                return await self._publish_once(principal, item)
            return await self._publish(principal, item, idempotency_key="")
        except (RefusedError, OtherContentError) as refused:
            return refused

    async def _publish_once(self, principal: Principal, new: _New) -> Answer:
        try:
            claim = await self._settle(new)
            if claim is not None and claim.state is State.DONE:
                self.counters.repeats += 1
                position = claim.answer
            else:
                # the log knows the id too: if the hub restarts, the publisher gets no answer and sends the message again
                since = self._hub.clock.wall_ms() // (WINDOW_S * 1000) if claim is None else claim.since_ms
                idempotency_key = f"publish-{_digest(principal.subject.encode(), new.item.id.encode()).hex()}-{since}"
                position = await self._publish(principal, new.item, idempotency_key=idempotency_key)
        except BaseException as error:
            known = isinstance(error, RefusedError | OtherContentError)
            self._fail(new, error if known else RefusedError(WireError.UNAVAILABLE, channel=new.item.channel))
            raise
        new.answer.set_result(position)
        return position

    async def _settle(self, new: _New) -> Claim | None:
        """What all nodes know of an id, as soon as no other one is publishing it.

        Raises:
            OtherContentError: it is the id of another message.
            RefusedError: another node has been publishing it for too long.
        """
        until = self._hub.clock.monotonic() + self._patience_s
        while new.claim is not None and new.claim.state is State.BUSY:
            if self._hub.clock.monotonic() >= until:
                raise RefusedError(WireError.UNAVAILABLE, channel=new.item.channel)
            await asyncio.sleep(_LOOK_AGAIN_S)
            new.claim = None
            await self._claim(new.key.tenant, [new])
        if new.claim is not None and new.claim.state is State.OTHER:
            raise OtherContentError(new.key.id)
        return new.claim

    def _fail(self, new: _New, error: BaseException) -> None:
        """Forget an id whose message was not published."""
        self._ids.failed(new.key)
        if not new.answer.done():
            new.answer.set_exception(error)
            new.answer.exception()  # nobody may be waiting for it

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


def _batches(count: int) -> Iterator[tuple[int, int]]:
    """Where batches begin and end; the first message is one of its own."""
    if count:
        yield 0, 1
    for start in range(1, count, BATCH):
        yield start, start + BATCH


def _share(redis: SharedRedis, hub: Hub, counters: PublishCounters) -> SharedIds:
    from hub.publishing.ids_redis import RedisIds  # imported here: the client of Redis takes time to load

    return RedisIds(redis, hub.limits, counters)


def _digest(*parts: bytes) -> bytes:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(b"%d:%b" % (len(part), part))
    return made.digest()
