"""Asks the stat server of another node, and answers other nodes' requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog

from channels.statistics.service.counters import RemoteCounters
from channels.statistics.service.interface import Login, Reading, Readings, Report, ServiceState, StatServer, UnansweredError
from channels.statistics.service.wire import (
    AT_ONCE,
    KIND,
    Done,
    Failed,
    NotOwnerError,
    Piece,
    Request,
    Some,
    Values,
    decode_arguments,
    decode_piece,
    decode_request,
    encode,
    encode_arguments,
    error_of,
    failure_of,
)
from hub.cluster.ownership import Ownership
from hub.cluster.ports import Call, CallEndedError, LinkError, Links
from hub.core.fetches import Fetches, Stamp
from hub.core.metric import Histogram
from hub.core.ports import Clock

_log = structlog.get_logger(__name__)


class RemoteStatServer:
    """Requests to the stat server of one other node or another: the node is named with each."""

    __slots__ = ("_clock", "_counters", "_links", "_timeout_s", "latency")

    def __init__(self, links: Links, clock: Clock, counters: RemoteCounters, timeout_s: float) -> None:
        """``timeout_s``: seconds within which the whole answer must have come."""
        self._links = links
        self._clock = clock
        self._counters = counters
        self._timeout_s = timeout_s
        self.latency = Histogram()
        """Seconds from a request to the end of its answer."""

    async def readings(self, node: str, method: str, login: Login, *arguments: Any) -> Readings:
        """A request that is answered with readings.

        Raises:
            NotOwnerError: the node does not own the tenant; nothing was done.
            LinkError: the node cannot be reached, or the link broke.
            UnansweredError: it did not answer in time.
        """
        found: list[Reading] = []
        done = Done()
        async with aclosing(self._pieces(node, Request(method, login.tenant, login), list(arguments))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Some):
                    found += piece.readings
                elif isinstance(piece, Done):
                    done = piece
        return Readings(found, done.refusals, done.subscription_id)

    async def result(self, node: str, method: str, tenant: str, *arguments: Any, login: Login | None = None) -> Any:
        """A request that is answered with one value. Raises as :meth:`readings`."""
        result = None
        async with aclosing(self._pieces(node, Request(method, tenant, login), list(arguments))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Done):
                    result = piece.result
        return result

    async def updates(self, node: str, tenant: str, login: str) -> tuple[bytes | None, Stamp | None]:
        """See :meth:`StatServer.present_updates`, with the stamp. Raises as :meth:`readings`."""
        done = Done()
        async with aclosing(self._pieces(node, Request("present_updates", tenant), [login])) as pieces:
            async for piece in pieces:
                if isinstance(piece, Done):
                    done = piece
        return done.result, done.stamp

    async def values(self, node: str, tenant: str, pattern: str) -> AsyncGenerator[Values, None]:
        """The present values of values channels, some at a time. Raises as :meth:`readings`."""
        async with aclosing(self._pieces(node, Request("present_values", tenant), [pattern])) as pieces:
            async for piece in pieces:
                if isinstance(piece, Values):
                    yield piece

    async def _pieces(self, node: str, request: Request, arguments: list[Any]) -> AsyncGenerator[Piece, None]:
        """The pieces of an answer; the last one is a :class:`Done`."""
        counters = self._counters
        counters.requests += 1
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s) as timeout:
                call = await self._links.open(node, KIND, encode(request), encode_arguments(arguments))
                try:
                    call.finish()
                    while (raw := await call.receive()) is not None:
                        piece = decode_piece(raw)
                        if isinstance(piece, Failed):
                            raise error_of(piece)
                        timeout.reschedule(None)  # the consumer's time is not the stat server's
                        yield piece
                        timeout.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
                        if isinstance(piece, Done):
                            self.latency.observe(self._clock.monotonic() - began)
                            return
                    raise CallEndedError("the answer has no end")
                finally:
                    call.cancel()
        except TimeoutError as error:
            counters.unanswered += 1
            raise UnansweredError(f"the stat server did not answer within {self._timeout_s:g} s") from error
        except LinkError:
            counters.failed += 1
            raise


class Answerer:
    """Answers the requests of other nodes, for the tenants that this process owns."""

    __slots__ = ("_fetches", "_local", "_ownership")

    def __init__(self, local: StatServer, ownership: Ownership, fetches: Fetches) -> None:
        """``fetches`` gives the stamps of present values."""
        self._local = local
        self._ownership = ownership
        self._fetches = fetches

    async def answer(self, call: Call) -> None:
        """The handler of calls of the kind ``stat``."""
        request = decode_request(call.head)
        try:
            if not self._ownership.serves(request.tenant):
                # it may be about to
                await self._ownership.find(request.tenant)
                if not self._ownership.serves(request.tenant):
                    raise NotOwnerError
            await self._answer(call, request, decode_arguments(call.body))
        except LinkError:
            raise
        except Exception as error:
            failed = failure_of(error)
            if failed is None:
                _log.exception("remote_request_failed", method=request.method, tenant=request.tenant)
                failed = Failed(type(error).__name__)
            await call.send(encode(failed))

    async def _answer(self, call: Call, request: Request, arguments: list[Any]) -> None:
        local, tenant = self._local, request.tenant
        match request.method, request.login, arguments:
            case "open_subscription", Login() as login, [identifier, items, verbose]:
                await _send_readings(call, await local.open_subscription(login, identifier, items, verbose=verbose))
            case "peek_subscription", Login() as login, [identifier, statistic_ids]:
                await _send_readings(call, await local.peek_subscription(login, identifier, statistic_ids))
            case "read", Login() as login, [items]:
                await _send_readings(call, await local.read(login, items))
            case "close_subscription", Login() as login, [identifier]:
                await local.close_subscription(login, identifier)
                await call.send(encode(Done()))
            case "present_updates", None, [audience]:
                present = await local.present_updates(tenant, audience)
                await call.send(encode(Done(present, stamp=await self._stamp(tenant))))
            case "present_values", None, [pattern]:
                await self._send_values(call, tenant, pattern)
            case "objects", None, [object_type]:
                await call.send(encode(Done(await local.objects(tenant, object_type))))
            case "clear_interaction", None, [identifier]:
                await call.send(encode(Done(await local.clear_interaction(tenant, identifier))))
            case "report", None, []:
                await call.send(encode(Done(await local.report(tenant))))
            case "start_service", None, []:
                await local.start_service(tenant)
                await call.send(encode(Done()))
            case "stop_service", None, []:
                await local.stop_service(tenant)
                await call.send(encode(Done()))
            case method, _, _:
                raise ValueError(f"expected a method of the stat server with its arguments, got {method}")

    async def _send_values(self, call: Call, tenant: str, pattern: str) -> None:
        # the generator holds the tenant's lock: a slow node must not keep it
        found: list[tuple[str, bytes]] = []
        async with aclosing(self._local.present_values(tenant, pattern)) as pieces:
            async for piece in pieces:
                found += piece
        stamp = await self._stamp(tenant)
        for at in range(0, len(found), AT_ONCE):
            await call.send(encode(Values(found[at : at + AT_ONCE], stamp)))
        await call.send(encode(Done()))

    async def _stamp(self, tenant: str) -> Stamp:
        """The stamp of values that were taken right now.

        Raises:
            NotOwnerError: this process owns the tenant no more; what it has may be old.
        """
        epoch = self._ownership.epoch(tenant)
        if epoch is None:
            raise NotOwnerError
        return await self._fetches.stamp(tenant, epoch)


async def _send_readings(call: Call, readings: Readings) -> None:
    for at in range(0, len(readings.readings), AT_ONCE):
        await call.send(encode(Some(readings.readings[at : at + AT_ONCE])))
        await asyncio.sleep(0)
    await call.send(encode(Done(None, readings.refusals, readings.subscription_id)))


def report_of(fields: dict[str, Any]) -> Report:
    """The report that another node sent."""
    return Report(**{**fields, "state": ServiceState(fields["state"])})
