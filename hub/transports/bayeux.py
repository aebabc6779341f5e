"""The Bayeux endpoint: WebSocket, long-polling and callback-polling on the same paths (docs/protocol/bayeux.md#endpoints)."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable

from starlette.types import Receive, Scope, Send

from hub.bayeux.server import BayeuxServer
from hub.core.ending import follow
from hub.http.body import BodyBudget
from hub.security.directory import Gone
from hub.security.gate import Gate
from hub.transports.bayeux_websocket import BayeuxWebSocket
from hub.transports.callback_polling import CallbackPolling, is_callback_polling
from hub.transports.longpolling import LongPolling
from hub.transports.relaying import SessionRelay

COMETD = "/cometd"
STATISTICS = "/statistics/v3/notifications"

_EXACT = frozenset({COMETD, STATISTICS})
_BELOW = (f"{COMETD}/", f"{STATISTICS}/")
_DRAIN_SLICES_PER_SECOND = 20


class BayeuxEndpoint:
    """A :class:`hub.transports.dispatcher.Endpoint` on ``/cometd`` and ``/statistics/v3/notifications``, each with or without a trailing
    slash and any suffix: some clients append the kind of message to the path, which the endpoint ignores.
    """

    __slots__ = ("_callback_polling", "_long_polling", "_relay", "_server", "_websocket")

    def __init__(self, server: BayeuxServer, gate: Gate, bodies: BodyBudget | None = None, relay: SessionRelay | None = None) -> None:
        """``bodies`` is the memory budget for the bodies of all requests of the process; without it this endpoint has its own budget.
        ``relay`` serves the sessions of other nodes, if the hub has some.
        """
        self._server = server
        self._relay = relay
        self._callback_polling = CallbackPolling(server, relay)
        self._long_polling = LongPolling(server, gate, bodies or BodyBudget(server.hub.limits), relay)
        self._websocket = BayeuxWebSocket(server, gate, relay)
        # to end the sessions is not enough: a WebSocket whose credential was revoked must not make a new handshake
        gate.on_revoked.append(self._revoke)
        gate.following.on_unverified.append(self._give_up)

    def serves(self, path: str) -> bool:
        """``/cometd`` and ``/cometd/x/y``, not ``/cometdx``; likewise the path of the Statistics API."""
        return path in _EXACT or path.startswith(_BELOW)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        statistics = scope["path"].startswith(STATISTICS)
        if scope["type"] != "http":
            return self._websocket.serve(scope, receive, send, statistics=statistics)
        if is_callback_polling(scope):
            return self._callback_polling.serve(scope, receive, send)
        return self._long_polling.serve(scope, receive, send, statistics=statistics)

    def _revoke(self, gone: Gone) -> None:
        hub = self._server.hub
        hub.loop.spawn(follow(hub, self._server.revoke(gone)))

    def _give_up(self, unverified: Gone) -> None:
        hub = self._server.hub
        hub.loop.spawn(follow(hub, self._server.give_up(unverified)))

    async def drain(self, seconds: float) -> None:
        """Disconnect every client, spread evenly over ``seconds``, so that they do not all reconnect at once. From the beginning of the
        drain, no connect is held and no session is opened.
        """
        slices = max(1, math.ceil(seconds * _DRAIN_SLICES_PER_SECOND))
        held_elsewhere = 0 if self._relay is None else len(self._relay)
        clients = len(self._server.sessions) + len(self._server.registry.websockets) + held_elsewhere
        in_slice = max(1, math.ceil(clients / slices))
        steps = self._server.drain()
        if self._relay is not None:
            steps = itertools.chain(self._relay.release(), steps)
        for number in range(slices):
            done = sum(1 for _ in itertools.islice(steps, in_slice))
            if done < in_slice or number + 1 == slices:
                break
            await asyncio.sleep(seconds / slices)
