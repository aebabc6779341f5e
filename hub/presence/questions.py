"""What a node asks the others about their sessions, and what they answer: JSON texts over the links (docs/scaling.md#presence)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hub.presence.roster import Wanted

KIND: Final = "survey"
"""The kind of these calls (:class:`hub.cluster.ports.Links`)."""


class ChannelsQuestion(msgspec.Struct, frozen=True, tag="channels"):
    """Which channels have subscribers; see :meth:`hub.presence.roster.Roster.channels`."""

    tenant: str
    limit: int
    after: str = ""
    prefix: str = ""
    within: str | None = None


class ChannelsReply(msgspec.Struct, frozen=True):
    """Names and numbers of sessions, in the order of the names; the name behind which there are more, if there are."""

    channels: list[tuple[str, int]]
    after: str | None


class CountQuestion(msgspec.Struct, frozen=True, tag="count"):
    """How many sessions subscribed to exactly this channel or pattern."""

    tenant: str
    channel: str


class SessionsQuestion(msgspec.Struct, frozen=True, tag="sessions"):
    """Who is connected; see :meth:`hub.presence.roster.Roster.sessions`."""

    tenant: str
    limit: int
    after: int = 0
    subject: str | None = None
    door: str | None = None
    channel: str | None = None
    hears: str | None = None

    @property
    def wanted(self) -> Wanted:
        """The filter."""
        return Wanted(self.subject, self.door, self.channel, self.hears)


class SessionsReply(msgspec.Struct, frozen=True):
    """Descriptions in the order of their beginning; the last one's serial if there are more."""

    sessions: list[dict[str, Any]]
    after: int | None


class SessionQuestion(msgspec.Struct, frozen=True, tag="session"):
    """One session, by its public id."""

    tenant: str
    id: str


class SessionReply(msgspec.Struct, frozen=True):
    """Its description with its channels; None if the node has none of this id."""

    session: dict[str, Any] | None


class DisconnectQuestion(msgspec.Struct, frozen=True, tag="disconnect"):
    """End sessions: the one with the id, or all of a subject."""

    tenant: str
    id: str | None = None
    subject: str | None = None


class NumberReply(msgspec.Struct, frozen=True):
    """How many there are, or were ended."""

    number: int
    subject: str | None = None
    """The subject of the session that was ended."""


Question = ChannelsQuestion | CountQuestion | SessionsQuestion | SessionQuestion | DisconnectQuestion
