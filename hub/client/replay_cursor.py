"""Where a subscription stands in the log, pattern by pattern: from where it goes on, and which messages it has had already."""

from __future__ import annotations

from typing import Final

from hub.client.conversation import NEW, Message

_ALL_BEFORE: Final = 0
"""Positions are not negative: ALL and NEW are."""


class ReplayCursor:
    """How far one subscription has come on one pattern.

    Args:
        replay: What was asked for: the position of the last message that is known, ALL, NEW, or None.
    """

    __slots__ = ("begun", "had", "logged", "since", "unlogged")

    def __init__(self, replay: int | None) -> None:
        self.since = replay
        """From where it goes on in another session: the last position that came, or what was asked for."""
        self.had = NEW
        """The position from which the present session went on: what comes up to it has come before."""
        self.logged = replay is not None
        """Whether positions count here: the server says so of log channels, or was asked to replay. Elsewhere publishers make them up."""
        self.unlogged = False
        """Whether a replay was asked for and the server said that it keeps no log there."""
        self.begun: int | None = None
        """The newest message that had been sent when the server confirmed it in the present session; None before that."""

    def restart(self) -> None:
        """There is a new session, in which it has not begun."""
        self.begun = None
        self.had = max(self.since if self.since is not None else NEW, NEW)

    def begin(self, sent: int, position: int | None, *, listed: bool) -> None:
        """The server has confirmed it.

        Args:
            sent: The newest message that was sent.
            position: Where it begins, as the server says; None where it stands for no log channel.
            listed: Whether the server said anything of positions.
        """
        self.begun = sent
        if listed or position is not None:
            self.unlogged = self.since is not None and position is None
            self.logged = position is not None
        if position is not None and (self.since is None or self.since < _ALL_BEFORE):
            self.since = position

    def has_had(self, position: int, *, in_order: bool) -> bool:
        """Whether the message at a position came before. With ``in_order`` all up to the last one did: the client has asked for a replay,
        which repeats what this subscription had without one.
        """
        return self.logged and (position <= self.had or (in_order and self.since is not None and position <= self.since))

    def reach(self, position: int) -> None:
        """The message at a position came, or all up to it."""
        if self.logged and (self.since is None or position > self.since):
            self.since = position


class Joining:
    """A subscription that asked for a replay of channels that another one of this client hears directly, until the replay is over.

    In between two kinds of messages come for it: the replay, and what is heard directly. The latter comes once more, in its turn, with the
    replay if it was published before the server began that: up to ``edge``. So it is passed over up to there, and held back while the edge
    is not known.

    Args:
        beside: The pattern that is heard directly; the server is asked where it is when the replay begins.
    """

    __slots__ = ("beside", "edge", "held")

    def __init__(self, beside: str) -> None:
        self.beside = beside
        self.edge: int | None = None
        self.held: list[Message] = []
