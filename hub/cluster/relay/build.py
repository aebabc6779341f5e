"""The relay of one node: what it sends on, and what it answers for others."""

from __future__ import annotations

from starlette.types import ASGIApp

from hub.bayeux.server import BayeuxServer
from hub.cluster.cluster import Cluster
from hub.cluster.relay import http, socket
from hub.cluster.relay.browsers import Browsers
from hub.cluster.relay.counters import RelayCounters
from hub.cluster.relay.homes import Homes
from hub.cluster.relay.http import HttpRelay
from hub.cluster.relay.owner import HttpOwner
from hub.cluster.relay.sessions import RelayedSessions
from hub.cluster.relay.socket_owner import SocketOwner
from hub.cluster.relay.tuning import RelayTuning
from hub.core.limits import Limits


class Relay:
    """Made once for a node of a hub with several."""

    __slots__ = ("_browsers", "_cluster", "_response_timeout_s", "_tuning", "counters", "http", "sessions")

    def __init__(self, cluster: Cluster, limits: Limits, tuning: RelayTuning | None = None) -> None:
        self._cluster = cluster
        self._tuning = tuning or RelayTuning()
        self._response_timeout_s = limits.response_timeout_ms / 1000
        self.counters = RelayCounters()
        self._browsers = Browsers(cluster.nodes, cluster.links, ask_s=self._tuning.ask_s)
        self.http = HttpRelay(cluster.links, self.counters, response_timeout_s=self._response_timeout_s)
        """Relays any request."""
        self.sessions = RelayedSessions(cluster.links, self.http, Homes(cluster.nodes), limits, self._tuning)
        """Relays requests of Bayeux sessions."""

    def serve(self, app: ASGIApp, bayeux: BayeuxServer) -> None:
        """Have ``app`` answer what other nodes relay to this one; ``bayeux`` has the sessions of this node."""
        self._browsers.serve(bayeux.registry)
        bayeux.other_browsers = self._browsers
        owner = HttpOwner(app, self.counters, confirm_s=self._tuning.confirm_s, response_timeout_s=self._response_timeout_s)
        self._cluster.links.serve(http.KIND, owner.answer)
        self._cluster.links.serve(socket.KIND, SocketOwner(app, self.counters).answer)
