"""Parts that tests of every folder put around what they test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.core.decision import Decision, Reason
from hub.core.frames import payload_of

TURNS = 100


def decided(allowed: bool) -> Decision:
    """What an authorizer of a test's own answers."""
    return Decision(allowed, Reason.GRANTED if allowed else Reason.NOT_GRANTED)


class ManualClock:
    """A :class:`hub.core.ports.Clock` whose time passes when the test says so."""

    def __init__(self, now: float = 1000.0, *, wall: int | None = None, step: float = 0.0) -> None:
        self.now = now
        """Monotonic seconds."""
        self.wall = wall
        """Wall clock, in milliseconds since the epoch; None: it goes with :attr:`now`."""
        self.step = step
        """Seconds that pass with each look at the monotonic clock: with more than a slice's length every slice is over at once."""

    def monotonic(self) -> float:
        self.now += self.step
        return self.now

    def wall_ms(self) -> int:
        return int(self.now * 1000) if self.wall is None else self.wall

    def wall_us(self) -> int:
        return int(self.now * 1_000_000) if self.wall is None else self.wall * 1000

    def advance(self, seconds: float) -> None:
        """Move both clocks."""
        self.now += seconds
        if self.wall is not None:
            self.wall += round(seconds * 1000)


@dataclass
class FakeConnection:
    """A connection of a session: it keeps the payloads of frames that are written, and holds as much unread as the test says."""

    frames: list[bytes] = field(default_factory=list)
    closed: int | None = None
    """The code of the first close; None: it is open, or lost."""
    reason: str = ""
    buffered: int = 0
    lost: bool = False
    direct_write: Callable[[bytes], object] | None = None
    writable_changed: Callable[[Callable[[bytes], object] | None], object] | None = None
    """What the conversation wants to have called when :attr:`direct_write` changes."""

    @property
    def open(self) -> bool:
        return self.closed is None and not self.lost

    @property
    def close_frame(self) -> tuple[int | None, str]:
        """Code and reason of the first close."""
        return self.closed, self.reason

    def on_writable_changed(self, callback: Callable[[Callable[[bytes], object] | None], object]) -> None:
        self.writable_changed = callback

    def write(self, frame: bytes) -> bool:
        if not self.open:
            return False
        self.frames.append(payload_of(frame))
        return True

    def close(self, code: int, reason: str = "") -> None:
        if self.closed is None:
            self.closed, self.reason = int(code), reason


async def take_turns() -> None:
    """Let the event loop go round often enough for whatever waits for its turn alone to come to its end, on a machine of any speed."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
