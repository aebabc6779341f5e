"""Limits, times and counters of the links between nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Limits and times of links. Those that an operator may want to change are settings (:class:`hub.ops.settings.ClusterSettings`)."""

    max_calls: int = 65_536
    """Calls that one node has open to another; held requests of clients are calls."""
    call_window: int = 1024 * 1024
    """Bytes of pieces that one side of a call sends before the other reads them; then it waits."""
    narrow: Mapping[str, int] = field(default_factory=lambda: {"websocket": 32 * 1024})
    """The same for calls of a kind of which there are thousands, whose other end may read nothing for long: they leave the window of the
    link to others. What waits behind it waits in the socket of the session's owner.
    """
    link_window: int = 64 * 1024 * 1024
    """The same over all calls of a link, with the requests that open them."""
    crowded: float = 0.5
    """The part of a link's window above which calls are ended whose pieces lie unread."""
    relieved: float = 0.25
    """The part of it at which no more of them are ended."""
    slow_s: float = 1.0
    """Seconds for which pieces lie unread in a call that may be ended so."""
    max_piece: int = 32 * 1024 * 1024
    """Bytes of a piece, or of a request with its head."""
    part: int = 64 * 1024
    """Bytes of a frame; a longer piece is sent in several, so that frames of other calls go between."""
    ping_s: float = 1.0
    """Seconds without a word of the other node after which it is pinged."""
    dead_s: float = 3.0
    """Seconds without a word of the other node after which the link is broken."""
    dial_s: float = 3.0
    """Seconds within which a connection must be made, and both nodes must have shown that they know the secret."""
    back_off_s: tuple[float, float] = (0.1, 2.0)
    """Seconds after a failed connection in which no other is tried: at first, doubled each time up to the second value."""
    max_strangers: int = 64
    """Connections that have not shown that they know the secret. One more ends the oldest."""

    def window_of(self, kind: str) -> int:
        """Bytes of pieces that one side of a call of this kind sends before the other reads them."""
        return min(self.call_window, self.narrow.get(kind, self.call_window))


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
        CounterFamily("made", "Links that were made, by who opened the connection.", "by", {"dialled": "node", "accepted": "other"}),
        CounterFamily("bytes", "Bytes that went over links.", "direction", {"bytes_out": "out", "bytes_in": "in"}),
        CounterFamily(
            "hellos_refused",
            "Connections to the listener of links, and from it, that did not become links: `secret` (the other side does not know the "
            "secret), `version`, `node` (another node than the one that was wanted), `duplicate` (there is a link already, or soon), "
            "`malformed`, `timeout`, `crowded` (too many at a time).",
            "reason",
            {
                "refused_secret": "secret",
                "refused_version": "version",
                "refused_node": "node",
                "refused_duplicate": "duplicate",
                "refused_malformed": "malformed",
                "refused_timeout": "timeout",
                "refused_crowded": "crowded",
            },
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
    ended_slow: int = 0
    """Calls that this node ended because it did not read them for long, and little room was left on their link for others."""
    handlers_failed: int = 0
    """Calls whose handler raised an exception."""
    dialled: int = 0
    """Links whose connection this node opened."""
    accepted: int = 0
    """Links whose connection another node opened."""
    dials_failed: int = 0
    """Connections to other nodes that could not be made."""
    broken: int = 0
    """Links that broke: the other node ended, or did not answer in time."""
    bytes_out: int = 0
    """Bytes that were sent over links."""
    bytes_in: int = 0
    """Bytes that came over links."""
    refused_secret: int = 0
    """Connections whose other side does not know the secret."""
    refused_version: int = 0
    """Connections whose other side knows no version of the protocol that this node knows."""
    refused_node: int = 0
    """Connections that reached another node than the one that was wanted."""
    refused_duplicate: int = 0
    """Connections beside a link that there is already."""
    refused_malformed: int = 0
    """Connections whose other side does not speak the protocol of links."""
    refused_timeout: int = 0
    """Connections whose other side did not show in time that it knows the secret."""
    refused_crowded: int = 0
    """Connections that ended because too many others had not shown yet that they know the secret."""
