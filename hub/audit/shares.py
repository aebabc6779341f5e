"""Bounds how many rows clients can add to the log: each tenant has a share in a minute. What goes beyond it is counted, and one row tells
the number.

Its methods are called on the event loop, but for :meth:`Shares.room`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeVar

from hub.audit.models import CHATS, ENDS, FAILURES, HUB_WIDE, Event
from hub.audit.settings import AuditSettings
from hub.core.ports import Clock

K = TypeVar("K")

WINDOW_S: Final = 60.0

MAX_NOTED: Final = 10_000
"""Different failed sign-ins that wait to be written at most. Their names and addresses come from whoever tries."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed sign-in as it waits to be written."""

    event: Event
    tenant: str
    """As it was typed, if it can be a tenant's name: there may be none of it."""
    who: str
    """A pseudonym."""
    address: str
    client: str


class _Kind(Enum):
    """Events of one kind share the rows of a minute."""

    FAILURE = auto()
    END = auto()
    CHAT = auto()
    GRANT = auto()


@dataclass(slots=True)
class _Window:
    until: float
    used: dict[tuple[str, _Kind], int] = field(default_factory=dict)
    """Rows by tenant and kind."""


class Shares:
    """What each tenant may add to the log, and what waits to be added."""

    __slots__ = ("_clock", "_counted", "_counted_since", "_noted", "_settings", "_window")

    def __init__(self, clock: Clock, settings: AuditSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._window = _Window(clock.monotonic() + WINDOW_S)
        self._counted: dict[tuple[str, Event], int] = {}
        self._counted_since = 0.0
        self._noted: dict[Failure, int] = {}

    def __len__(self) -> int:
        """Different failures, and numbers, that wait to be written."""
        return len(self._noted) + len(self._counted)

    def room(self, tenant: str, event: Event) -> int:
        """How many more rows a tenant may have in this minute. Any thread may ask; operations of one group of transactions get the same
        answer, and exceed the share by their number.
        """
        kind = _kind_of(event)
        most = self._settings.failures_per_minute if kind is _Kind.FAILURE else self._settings.grants_per_minute
        window = self._window
        return most if self._clock.monotonic() >= window.until else max(0, most - window.used.get((tenant, kind), 0))

    def take(self, tenant: str, event: Event) -> None:
        """Note that a tenant has got a row."""
        self._turn()
        key = tenant, _kind_of(event)
        self._window.used[key] = self._window.used.get(key, 0) + 1

    def count(self, tenant: str, event: Event, number: int = 1) -> None:
        """Note something that gets no row of its own."""
        if not self._counted:
            self._counted_since = self._clock.monotonic()
        self._counted[tenant, event] = self._counted.get((tenant, event), 0) + number

    def note(self, failure: Failure) -> None:
        """Note a failed sign-in. The same one again costs nothing but a number."""
        if failure not in self._noted and len(self._noted) >= MAX_NOTED:
            self.count(HUB_WIDE, failure.event)
            return
        self._noted[failure] = self._noted.get(failure, 0) + 1

    def waiting(self) -> Mapping[Failure, int]:
        """The failed sign-ins that wait, each with its number."""
        return dict(self._noted)

    def written(self, failures: Mapping[Failure, int]) -> None:
        """Forget what :meth:`waiting` has returned; what came since then stays."""
        _subtract(self._noted, failures)

    def due(self, *, now: bool = False) -> Mapping[tuple[str, Event], int]:
        """The numbers that have been counted for a minute, or with ``now`` for less."""
        over = self._clock.monotonic() - self._counted_since >= WINDOW_S
        return dict(self._counted) if over or now else {}

    def told(self, numbers: Mapping[tuple[str, Event], int]) -> None:
        """Forget what :meth:`due` has returned."""
        _subtract(self._counted, numbers)
        self._counted_since = self._clock.monotonic()

    def _turn(self) -> None:
        """Begin another minute if this one is over."""
        now = self._clock.monotonic()
        if now >= self._window.until:
            self._window = _Window(now + WINDOW_S)


def _kind_of(event: Event) -> _Kind:
    if event in FAILURES:
        return _Kind.FAILURE
    if event in CHATS:
        return _Kind.CHAT
    return _Kind.END if event in ENDS else _Kind.GRANT


def _subtract(numbers: dict[K, int], done: Mapping[K, int]) -> None:
    for key, number in done.items():
        left = numbers[key] - number
        if left:
            numbers[key] = left
        else:
            del numbers[key]
