"""All sessions and WebSockets of one server, and what is counted of them for its limits."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from hub.core.limits import Limits
from hub.core.principal import Principal


class Registered(Protocol):
    """What the registry reads of a session."""

    id: str
    principal: Principal
    connected: bool

    @property
    def browsers(self) -> tuple[str, ...]:
        """The ``BAYEUX_BROWSER`` cookies that lead to it."""
        ...


S = TypeVar("S", bound=Registered)
W = TypeVar("W")


class Registry(Generic[S, W]):
    """``S`` is the sessions' class, ``W`` that of the WebSockets."""

    __slots__ = (
        "_limits",
        "_unconnected_of_all",
        "browsers",
        "connects_held",
        "occupied",
        "offered",
        "sessions",
        "unconnected",
        "websockets",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.sessions: dict[str, S] = {}
        """By clientId."""
        self.websockets: dict[W, None] = {}
        """Those that are open, with a session or without."""
        self.connects_held = 0
        """Connects that wait for something to send, or for their time to be over."""
        self.browsers: dict[str, int] = {}
        """How many sessions each ``BAYEUX_BROWSER`` cookie leads to."""
        self.offered: set[str] = set()
        """``BAYEUX_BROWSER`` cookies that open WebSockets were given."""
        self.occupied: dict[str, int] = {}
        """How many connects of each browser long-polling holds."""
        self._unconnected_of_all = 0
        self.unconnected: dict[str, int] = {}
        """How many sessions of each tenant have not connected yet."""

    def has_room(self, tenant: str) -> bool:
        """Whether one more session may wait for its first connect: of all, and of this tenant."""
        most = self._limits.max_unconnected
        return self._unconnected_of_all < most and self.unconnected.get(tenant, 0) < self._limits.of_tenant(most)

    def add(self, session: S) -> None:
        """A handshake has made a session, which has not connected yet."""
        self.sessions[session.id] = session
        self._unconnected_of_all += 1
        _add_one(self.unconnected, session.principal.tenant)
        self.count_browsers(session)

    def connected(self, tenant: str) -> None:
        """A session of this tenant has connected for the first time, or ended before it did."""
        self._unconnected_of_all -= 1
        _take_one(self.unconnected, tenant)

    def remove(self, session: S) -> None:
        """A session has ended. Called once for each session.

        Raises:
            KeyError: it is not here.
        """
        del self.sessions[session.id]
        self.release_browsers(session)
        if not session.connected:
            self.connected(session.principal.tenant)

    def count_browsers(self, session: S) -> None:
        """Count the cookies of a session."""
        for browser in session.browsers:
            _add_one(self.browsers, browser)

    def release_browsers(self, session: S) -> None:
        """Take back what :meth:`count_browsers` counted."""
        for browser in session.browsers:
            _take_one(self.browsers, browser)

    def hold(self, browser: str | None) -> None:
        """A connect is held; ``browser`` is the one whose connection it occupies, where it is known."""
        self.connects_held += 1
        if browser is not None:
            _add_one(self.occupied, browser)

    def release(self, browser: str | None) -> None:
        """A connect is held no more."""
        self.connects_held -= 1
        if browser is not None:
            _take_one(self.occupied, browser)


def _add_one(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def _take_one(counts: dict[str, int], key: str) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
