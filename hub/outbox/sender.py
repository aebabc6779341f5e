"""Sends one attempt of a delivery: a POST over aiohttp with limits on its time and on the size of the answer."""

from __future__ import annotations

import asyncio
import email.utils
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from hub import __version__
from hub.core.ports import Clock
from hub.outbox.client_errors import described
from hub.outbox.guard import Guard
from hub.outbox.models import Endpoint, OutboxEvent
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.resolver import TENANT, GuardedResolver, Resolver
from hub.outbox.settings import OutboxSettings
from hub.outbox.sign import headers

USER_AGENT: Final = f"CX-Event-Hub/{__version__}"

KEEP_ALIVE_S: Final = 15.0
"""Seconds that an idle connection is kept. Most servers keep it longer, so that a request seldom uses a connection that the server closes.
"""

_MAX_HEADER_BYTES: Final = 16 * 1024


class ConnectionUse:
    """Records which connection a request used."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept = False
        """Whether an earlier request had opened the connection."""


async def _by_kept(_session: aiohttp.ClientSession, context: object, _params: object) -> None:
    context.trace_request_ctx.kept = True  # type: ignore[attr-defined]


class Sender:
    """Sends to every endpoint of a process, over one pool of connections. Start it in the event loop."""

    __slots__ = ("_clock", "_fresh", "_guard", "_inner", "_names", "_session", "_settings")

    def __init__(self, guard: Guard, clock: Clock, settings: OutboxSettings, names: AbstractResolver | None = None) -> None:
        """``names``: looks up host names; by default a :class:`hub.outbox.resolver.Resolver`. It is closed with the pool."""
        self._guard = guard
        self._inner = names
        self._clock = clock
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._names: AbstractResolver | None = None

    async def start(self) -> None:
        """Open the pool."""
        inner = self._inner or Resolver(self._settings.resolve_threads, self._settings.tenant_share)
        self._names = GuardedResolver(self._guard, inner)
        self._session = self._opened(self._names, keep=True)
        self._fresh = self._opened(self._names, keep=False)

    def _opened(self, names: AbstractResolver, *, keep: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # the delivery worker's queues limit the connections
            resolver=names,
            socket_factory=self._guard.socket_factory,
            ttl_dns_cache=10,
            **({"keepalive_timeout": KEEP_ALIVE_S} if keep else {"force_close": True}),
        )
        watch = aiohttp.TraceConfig()
        watch.on_connection_reuseconn.append(_by_kept)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            trace_configs=[watch],
        )

    async def stop(self) -> None:
        """Close every connection."""
        for session in (self._session, self._fresh):
            if session is not None:
                await session.close()
        self._session = self._fresh = None
        if self._names is not None:
            await self._names.close()
            self._names = None

    async def send(self, endpoint: Endpoint, event: OutboxEvent, attempt: int, timeout_s: float) -> Outcome:
        """POST an event to an endpoint once. Every fault of the receiver or the network becomes an outcome, not an exception.

        A connection that was kept open may turn out to be closed, which is no failure of the receiver: then the request is sent once more,
        over a new connection.
        """
        now_ms = self._clock.wall_ms()
        began = self._clock.monotonic()
        secrets = [each for each in endpoint.secrets if each.until_ms is None or each.until_ms > now_ms]
        made = {
            **endpoint.headers,
            "Content-Type": "application/json",
            **headers(event, secrets, attempt, now_ms // 1000),
        }
        TENANT.set(endpoint.tenant)
        status, failure, error, body, retry_after = 0, Failure.NONE, "", b"", None
        try:
            async with asyncio.timeout(timeout_s):
                used = ConnectionUse()
                try:
                    status, body, retry_after = await self._post(self._session, used, endpoint.url, event.body, made)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    if not used.kept:
                        raise
                    status, body, retry_after = await self._post(self._fresh, used, endpoint.url, event.body, made)
        except TimeoutError:
            failure, error = Failure.TIMEOUT, f"no answer within {timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as raised:
            failure, error = described(raised)
        duration_ms = round((self._clock.monotonic() - began) * 1000)
        return Outcome(status, failure, error, body, self._seconds(retry_after), now_ms, duration_ms)

    async def _post(
        self, session: aiohttp.ClientSession | None, used: ConnectionUse, url: str, data: bytes, made: dict[str, str]
    ) -> tuple[int, bytes, str | None]:
        assert session is not None
        async with session.post(URL(url, encoded=True), data=data, headers=made, allow_redirects=False, trace_request_ctx=used) as answer:
            body, whole = await self._read(answer)
            if not whole:
                answer.close()  # the rest of the body is not read, so the connection cannot be used again
            return answer.status, body, answer.headers.get("Retry-After")

    async def _read(self, answer: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """Read the beginning of the body. Returns it, and whether that is the whole body."""
        kept = bytearray()
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            if len(kept) < self._settings.kept_body_bytes:
                kept += piece[: self._settings.kept_body_bytes - len(kept)]
            if size > self._settings.max_answer_bytes:
                return bytes(kept), False
        return bytes(kept), True

    def _seconds(self, retry_after: str | None) -> float | None:
        """``Retry-After`` in seconds from now: it is a number, or a date (RFC 9110 section 10.2.3); None if it is neither."""
        if retry_after is None:
            return None
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(0.0, moment.timestamp() - self._clock.wall_ms() / 1000)
