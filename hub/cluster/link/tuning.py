"""Limits, times and counters of the links between nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Limits and times of links. Those that an operator may want to change are settings (:class:`hub.ops.settings.ClusterSettings`)."""

    max_calls: int = 65_536
    """Calls that one node has open to another; held requests of clients are calls."""
    call_window: int = 1024 * 1024
    """Bytes of pieces that one side of a call sends before the other reads them; then it waits."""
    link_window: int = 64 * 1024 * 1024
    """The same over all calls of a link, with the requests that open them."""
    max_piece: int = 32 * 1024 * 1024
    """Bytes of a piece, or of a request with its head."""
    part: int = 64 * 1024
    """Bytes of a frame; a longer piece is sent in several, so that frames of other calls go between."""


@dataclass(slots=True)
class Counters:
    """What the links of a node count."""

    METRICS: ClassVar = (
        CounterFamily(
            "calls",
            "Calls between nodes, by who opened them: this node (`out`) or another (`in`).",
            "direction",
            {"calls_out": "out", "calls_in": "in"},
        ),
        CounterFamily(
            "calls_refused",
            "Calls of other nodes that this one refused: it answers no such call, has too many open, or the request had come over too many "
            "links.",
            "reason",
            {"refused_kind": "kind", "refused_busy": "busy", "refused_loop": "loop"},
        ),
    )

    calls_out: int = 0
    """Calls that this node opened."""
    calls_in: int = 0
    """Calls that other nodes opened."""
    refused_kind: int = 0
    """Calls of a kind that this node does not answer."""
    refused_busy: int = 0
    """Calls that were refused because too many were open."""
    refused_loop: int = 0
    """Calls that were refused because the request had come over too many links."""
    handlers_failed: int = 0
    """Calls whose handler raised an exception."""
