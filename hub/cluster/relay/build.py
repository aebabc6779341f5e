"""The relay of one node: what it sends on, and what it answers for others."""

from __future__ import annotations

from starlette.types import ASGIApp

from hub.cluster.cluster import Cluster
from hub.cluster.relay.counters import RelayCounters
from hub.cluster.relay.homes import Homes
from hub.cluster.relay.http import KIND, HttpRelay
from hub.cluster.relay.owner import HttpOwner
from hub.cluster.relay.sessions import RelayedSessions
from hub.cluster.relay.tuning import RelayTuning
from hub.core.limits import Limits


class Relay:
    """Made once for a node of a hub with several."""

    __slots__ = ("_cluster", "_response_timeout_s", "_tuning", "counters", "http", "sessions")

    def __init__(self, cluster: Cluster, limits: Limits, tuning: RelayTuning | None = None) -> None:
        self._cluster = cluster
        self._tuning = tuning or RelayTuning()
        self._response_timeout_s = limits.response_timeout_ms / 1000
        self.counters = RelayCounters()
        self.http = HttpRelay(cluster.links, self.counters, response_timeout_s=self._response_timeout_s)
        """Relays any request."""
        self.sessions = RelayedSessions(self.http, Homes(cluster.nodes), limits, patience_s=self._tuning.patience_s)
        """Relays requests of Bayeux sessions."""

    def serve(self, app: ASGIApp) -> None:
        """Have ``app`` answer what other nodes relay to this one."""
        owner = HttpOwner(app, self.counters, confirm_s=self._tuning.confirm_s, response_timeout_s=self._response_timeout_s)
        self._cluster.links.serve(KIND, owner.answer)
