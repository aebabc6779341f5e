"""What the HTTP and WebSocket connections of a process share: uvicorn's configuration with the hub's limits, and the counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import uvicorn

from hub.core.arrivals import Arrivals
from hub.core.limits import Limits
from hub.http.error_table import ErrorTable
from hub.security.connections import Connections
from hub.transports.lingering import LingeringConnections


@dataclass(slots=True)
class HttpCounters:
    """What the connections of a process count; each field becomes ``hub_http_<field>``."""

    requests_unreadable: int = 0
    """Requests that are no HTTP, or whose head is too large or too late."""
    reading_paused: int = 0
    """Times that a connection had ``max_requests_ahead`` requests waiting, and was not read until one was answered."""
    upgrades_ignored: int = 0
    """Requests that offered another protocol than WebSocket, and were read as if they had not."""
    closed_amid_sending: int = 0
    """Connections that were closed behind their last answer while the client may have been sending still: it may not have read that."""


class HubConfig(uvicorn.Config):
    """uvicorn's configuration, with the limits, counters and connections that the hub's protocols use."""

    def __init__(
        self,
        app: Any,
        *,
        limits: Limits,
        counters: HttpCounters,
        connections: Connections,
        errors: ErrorTable | None = None,
        arrivals: Arrivals | None = None,
        **options: Any,
    ) -> None:
        """``errors`` has the forms of refusals; ``arrivals`` says when a WebSocket may begin, without it each does at once."""
        super().__init__(app, **options)
        self.errors = errors or ErrorTable()
        self.hub_limits = limits
        self.hub_connections = connections
        self.http_counters = counters
        self.arrivals = arrivals
        self.lingering = LingeringConnections(limits, counters)
        self.stopping = False
        """Whether answers end their connections, because the process stops."""
