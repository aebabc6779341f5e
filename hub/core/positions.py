"""Up to where each tenant's log has been handed over to this node."""

from __future__ import annotations

from collections.abc import Callable


class Positions:
    """The newest position of each tenant's log up to which this node has received all messages of the topics that it is subscribed to.

    It orders what is handed over: a message at or below it comes from the log alone, one above it comes from the bus. It says nothing of a
    topic before the position from which the bus has that topic in force (:meth:`hub.bus.interface.Bus.subscribe`).
    """

    __slots__ = ("_newest", "_waiting")

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        # of each tenant: callbacks, and the position that each waits for
        self._waiting: dict[str, list[tuple[int, Callable[[], None]]]] = {}

    def newest(self, tenant: str) -> int | None:
        """The newest position of a tenant; None while the bus has reported none."""
        return self._newest.get(tenant)

    def advance(self, tenant: str, position: int) -> None:
        """Everything up to ``position`` has been handed over. A position below the newest one changes nothing."""
        if position <= self._newest.get(tenant, -1):
            return
        self._newest[tenant] = position
        if tenant in self._waiting:
            self._call(tenant, position)

    def when_reached(self, tenant: str, position: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, as soon as everything up to ``position`` has been handed over."""
        self._waiting.setdefault(tenant, []).append((position, callback))
        self._call(tenant, self._newest.get(tenant, -1))

    def _call(self, tenant: str, newest: int) -> None:
        waiting = self._waiting.pop(tenant)
        later = [each for each in waiting if each[0] > newest]
        if later:
            self._waiting[tenant] = later
        for position, callback in waiting:
            if position <= newest:
                callback()
