"""What the sessions and the handlers of one server share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from hub.bayeux.advice import Advice
from hub.bayeux.counters import BayeuxCounters
from hub.bayeux.extension_chain import ExtensionChain, FaultReport
from hub.bayeux.registry import Registered, Registry
from hub.core.limits import Limits

S = TypeVar("S", bound=Registered)
W = TypeVar("W")


class Context(Generic[S, W]):
    """``S`` is the sessions' class, ``W`` that of the WebSockets."""

    __slots__ = ("advice", "count_deliveries", "counters", "extensions", "limits", "on_fault", "registry")

    def __init__(self, limits: Limits, extensions: ExtensionChain[S], *, jitter: Callable[[int], int], on_fault: FaultReport) -> None:
        self.limits = limits
        self.counters = BayeuxCounters()
        self.advice = Advice(limits, jitter)
        self.registry: Registry[S, W] = Registry(limits)
        self.extensions = extensions
        self.on_fault = on_fault
        self.count_deliveries = bool(limits.activity_ms and limits.activity_counts_deliveries)
        """Whether what a session is sent counts as traffic (docs/protocol/bayeux.md#activity)."""
