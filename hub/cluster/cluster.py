"""What a hub of several nodes has beside what each node has for itself: :attr:`hub.family.Context.cluster`."""

from __future__ import annotations

from dataclasses import dataclass

from hub.cluster.ports import Links, Nodes


@dataclass(slots=True)
class Cluster:
    """The other nodes of the hub, as the parts of this process reach them."""

    nodes: Nodes
    links: Links
