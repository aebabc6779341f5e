"""Limits that speak of the whole hub and that each node keeps alone: a node allows its part of them (docs/scaling.md#limits)."""

from __future__ import annotations

from hub.cluster.ports import Nodes
from hub.core.sessions import Sessions
from hub.family import ProcessRole, process_roles


def share_rates(sessions: Sessions, nodes: Nodes) -> None:
    """Divide the rates at which sessions are opened among the nodes that open any, now and whenever nodes come or go."""

    def divide() -> None:
        taking = sum(not record.draining and ProcessRole.EDGE in process_roles(record.role) for record in nodes.live().values())
        sessions.share_rates(max(1, taking))

    nodes.on_changed.append(divide)
    divide()
