"""What the reference's history is made of: intervals, moments, and the state of agents and calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CALLS = {"inbound": "CallInbound", "outbound": "CallOutbound", "internal": "CallInternal", "consult": "CallConsult"}
TALK = {*CALLS.values(), "CallUnknown"}
CUSTOMERS = {"CallInbound", "CallOutbound", "CallUnknown"}
STATES = {"LoggedIn", "LoggedOut", "WaitForNextCall", "NotReadyForNextCall", "AfterCallWork"}
IDLE_MS = 300_000


@dataclass
class Interval:
    owner: tuple[str, str]
    key: tuple[str, str, str]
    start: int
    begun: int
    """Number of the event that began it."""
    end: int | None = None
    ended: int | None = None


@dataclass
class Moment:
    owner: tuple[str, str]
    key: tuple[str, str, str]
    at: int
    number: int
    duration: int
    began: int | None = None
    """Of what counts only as far as it lies in the window: since when it lasted."""
    of: int | None = None
    """Of what counts in the windows and groups of something earlier: when that was."""

    def lasted(self, since: int) -> int:
        """Seconds, in a window that began at a moment."""
        return self.duration if self.began is None else self.at // 1000 - max(self.began, since) // 1000


@dataclass
class Membership:
    group: tuple[str, str]
    member: tuple[str, str]
    joined: int
    number: int
    left: int | None = None
    left_number: int | None = None


@dataclass
class Part:
    action: str
    queue: str | None
    held: bool = False
    customer: int | None = None
    """Since when it is a customer's call that is established."""
    breaks: Break | None = None
    """The interruption of after-call work that it is."""
    giver: str | None = None


@dataclass
class Break:
    start: int
    end: int | None = None


@dataclass
class Wrap:
    of: int
    """When its call ended."""
    start: int
    breaks: list[Break] = field(default_factory=list)

    def seconds(self, until: int) -> int:
        """Every second of the work in which no call went on that began meanwhile."""
        breaks = [(each.start // 1000, (until if each.end is None else each.end) // 1000) for each in self.breaks]
        return sum(not any(a <= second < b for a, b in breaks) for second in range(self.start // 1000, until // 1000))


@dataclass
class Dn:
    media: str
    place: str | None
    logged_in: bool = False
    mode: str = "WaitForNextCall"
    wrap_queue: str | None = None
    handled: int | None = None
    """When the last customer's call ended here, unless one within the house ended since."""
    wrap: Wrap | None = None
    parts: dict[str, Part] = field(default_factory=dict)


@dataclass
class Call:
    media: str
    touched: int
    queue: str | None = None
    waiting: str | None = None
    visits: dict[str, dict[str, Any]] = field(default_factory=dict)
    area: str | None = None
    entered: int = 0
    awaited: int | None = None
    """Number of the event since which it waits in its staging area."""
    finished: bool = False
