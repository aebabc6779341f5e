"""The position of a subscription in the log, for each pattern: where it resumes, and which messages it has received already."""

from __future__ import annotations

from typing import Final

from hub.client.conversation import NEW, Message

_ALL_BEFORE: Final = 0
"""Positions are 0 or more; ALL and NEW are less."""


class ReplayCursor:
    """The position that one subscription has reached on one pattern.

    Args:
        replay: Where the user wants to begin: the position of the last message that is known, ALL, NEW, or None.
    """

    __slots__ = ("begun", "had", "logged", "since", "unlogged")

    def __init__(self, replay: int | None) -> None:
        self.since = replay
        """Where to resume in the next session: the last position that came, or ``replay``."""
        self.had = NEW
        """The position at which the present session resumed: messages up to it have come before."""
        self.logged = replay is not None
        """Whether positions are valid here: the server said that it keeps a log, or a replay was requested and it did not tell. On other
        channels a position may be a publisher's own data.
        """
        self.unlogged = False
        """Whether a replay was requested and the server said that it keeps no log there."""
        self.begun: int | None = None
        """The id of the newest message that had been sent when the server confirmed the subscription in the present session; None before
        that.
        """

    def restart(self) -> None:
        """There is a new session, in which the server has not confirmed the subscription yet."""
        self.begun = None
        self.had = max(self.since if self.since is not None else NEW, NEW)

    def begin(self, sent: int, position: int | None, *, listed: bool) -> None:
        """The server has confirmed the subscription.

        Args:
            sent: The id of the newest message that was sent.
            position: The position from which the pattern begins, in the server's reply; None if the reply has none for it.
            listed: Whether the reply has a list of positions, which then names every pattern with a log.
        """
        self.begun = sent
        if listed or position is not None:
            self.unlogged = self.since is not None and position is None
            self.logged = position is not None
        if position is not None and (self.since is None or self.since < _ALL_BEFORE):
            self.since = position

    def has_had(self, position: int, *, in_order: bool) -> bool:
        """Whether the subscription has received the message at a position before. ``in_order``: a replay is under way, which may repeat
        messages that this subscription received without it; so every message up to its last position counts as received.
        """
        return self.logged and (position <= self.had or (in_order and self.since is not None and position <= self.since))

    def reach(self, position: int) -> None:
        """The message at this position came, or every message up to it."""
        if self.logged and (self.since is None or position > self.since):
            self.since = position


class Joining:
    """The state of a subscription during a replay, if another subscription of the client hears the same channels directly, without replay.

    Meanwhile two kinds of messages come for the subscription: replayed ones and new ones. The replay contains the messages up to the
    position ``edge``, so a new message up to there comes twice: the first copy is skipped. While the edge is not known, new messages are
    held back.

    Args:
        beside: A pattern that is heard directly. The subscribe request contains it, so that the reply names its position: the edge.
    """

    __slots__ = ("beside", "edge", "held")

    def __init__(self, beside: str) -> None:
        self.beside = beside
        self.edge: int | None = None
        self.held: list[Message] = []
