"""The sessions of other nodes, as the Bayeux transports of this one reach them."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.types import Receive, Scope, Send

from hub.cluster.relay.homes import Homes
from hub.cluster.relay.http import HttpRelay
from hub.core.limits import Limits


class RelayedSessions:
    """A :class:`hub.transports.relaying.SessionRelay`."""

    __slots__ = ("_homes", "_http", "_timeout_s")

    def __init__(self, http: HttpRelay, homes: Homes, limits: Limits, *, patience_s: float) -> None:
        """``patience_s``: seconds that an answer may take beyond the time for which a connect may be held."""
        self._http = http
        self._homes = homes
        self._timeout_s = limits.timeout_ms / 1000 + patience_s

    def home_of(self, browser: str) -> str | None:
        """See :meth:`hub.transports.relaying.SessionRelay.home_of`."""
        return self._homes.of(browser)

    def new_browser(self) -> str:
        """See :meth:`hub.transports.relaying.SessionRelay.new_browser`."""
        return self._homes.new_browser()

    async def relay(self, scope: Scope, receive: Receive, send: Send, node: str, body: bytes) -> None:
        """See :meth:`hub.transports.relaying.SessionRelay.relay`."""
        await self._http.send_on(scope, receive, send, node, body, timeout_s=self._timeout_s, confirm=True)

    def __len__(self) -> int:
        return len(self._http)

    def release(self) -> Iterator[None]:
        """See :meth:`hub.cluster.relay.http.HttpRelay.release`."""
        return self._http.release()
