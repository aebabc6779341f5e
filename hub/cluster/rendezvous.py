"""Which node comes first for a key: all nodes agree without asking each other, and a node that goes moves only its own keys.

Rendezvous hashing: each node gets a weight for the key, and the highest weight is first (Thaler and Ravishankar, 1998).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def ranked(key: str, nodes: Iterable[str]) -> list[str]:
    """The nodes in their order for ``key``, the first one first. The order of ``nodes`` does not matter."""
    return sorted(nodes, key=lambda node: (weight(key, node), node), reverse=True)


def first(key: str, nodes: Iterable[str]) -> str | None:
    """The node that comes first for ``key``; None if there are no nodes."""
    return max(nodes, key=lambda node: (weight(key, node), node), default=None)


def weight(key: str, node: str) -> bytes:
    """The weight of a node for a key: the node with the highest one comes first."""
    return hashlib.blake2b(f"{key}\x00{node}".encode(), digest_size=8).digest()
