"""The sessions of one process: who is let in, how many a tenant may have, and who is told when one begins or ends."""

from __future__ import annotations

from collections.abc import Callable

from hub.core.counters import Counters
from hub.core.errors import RefusedError, WireError
from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.core.rates import RateLimit
from hub.core.subscriber import Subscriber
from hub.core.subscriptions import Subscriptions


class Sessions:
    """The registry of attached sessions. It holds the limits of the process, the share of each tenant, and the rates of opening."""

    __slots__ = (
        "_address_rate",
        "_counters",
        "_limits",
        "_of_tenant",
        "_serial",
        "_subscriptions",
        "_tenant_rate",
        "by_id",
        "on_attached",
        "on_detached",
    )

    def __init__(self, limits: Limits, clock: Clock, counters: Counters, subscriptions: Subscriptions) -> None:
        self._limits = limits
        self._counters = counters
        self._subscriptions = subscriptions
        self._serial = clock.wall_us()
        # how many sessions each tenant has, and how often sessions are asked for
        self._of_tenant: dict[str, int] = {}
        self._tenant_rate = RateLimit(clock, limits.handshakes_per_s_per_tenant)
        self._address_rate = RateLimit(clock, limits.handshakes_per_s_per_address)
        self.by_id: dict[str, Subscriber] = {}
        """The attached sessions, by their ids, in the order in which they were let in."""
        self.on_attached: list[Callable[[Subscriber], None]] = []
        """Called with each session that was let in."""
        self.on_detached: list[Callable[[Subscriber], None]] = []
        """Called with each session that is gone, after its subscriptions have ended."""

    def __len__(self) -> int:
        return len(self.by_id)

    def share_rates(self, nodes: int) -> None:
        """Apply the rates of opening to so many nodes together: this one allows its part of them."""
        self._tenant_rate.divide(nodes)
        self._address_rate.divide(nodes)

    def check_rate(self, address: str | None) -> None:
        """Count one request for a session. ``address`` is what the client is counted as; None where that is not known, or not limited.

        Raises:
            RefusedError: RATE_LIMITED, the address asked as often in this second as it may.
        """
        if address is not None and not self._address_rate.allows(address):
            self._counters.refused_by_address_rate += 1
            most = self._limits.handshakes_per_s_per_address
            raise RefusedError(WireError.RATE_LIMITED, f"this address asks for more than {most} sessions a second, its limit")

    def attach(self, subscriber: Subscriber) -> None:
        """Let a new session in.

        Raises:
            RefusedError: RATE_LIMITED, the process holds as many sessions as it may, or the tenant as many as its share, or the tenant
                opened as many in this second as it may.
        """
        tenant = subscriber.principal.tenant
        if len(self.by_id) >= self._limits.max_sessions:
            self._counters.refused_by_process += 1
            raise RefusedError(WireError.RATE_LIMITED, f"this server holds {self._limits.max_sessions} sessions, its limit")
        of_tenant = self._of_tenant.get(tenant, 0)
        if of_tenant >= self._limits.of_tenant(self._limits.max_sessions):
            self._counters.refused_by_tenant += 1
            raise RefusedError(WireError.RATE_LIMITED, f"this tenant has {of_tenant} sessions here, its share of what the server holds")
        if not self._tenant_rate.allows(tenant):
            self._counters.refused_by_tenant_rate += 1
            most = self._limits.handshakes_per_s_per_tenant
            raise RefusedError(WireError.RATE_LIMITED, f"this tenant opens more than {most} sessions a second, its limit")
        self._of_tenant[tenant] = of_tenant + 1
        self._serial += 1
        subscriber.serial = self._serial
        subscriber.attached = True
        self.by_id[subscriber.id] = subscriber
        for listener in self.on_attached:
            listener(subscriber)

    def detach(self, subscriber: Subscriber) -> None:
        """Remove a session that is gone, and end its subscriptions. Calling it twice does no harm."""
        self._subscriptions.end(subscriber)
        subscriber.direct_write = None
        subscriber.waiting.clear()
        subscriber.queued_bytes = 0
        subscriber.recovery = None
        if not subscriber.attached:
            return
        subscriber.attached = False
        del self.by_id[subscriber.id]
        tenant = subscriber.principal.tenant
        self._of_tenant[tenant] -= 1
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]
        for listener in self.on_detached:
            listener(subscriber)
