"""The log of ``log`` channels as its users see it: positions, pages of what was published, and how far back it reaches
(docs/protocol/channels.md#positions).
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hub.core.channels import candidates
from hub.core.message import Topic, queued_size

PAGE_RECORDS = 256
"""Records of one page at most."""

SCAN = 500
"""Records that one page looks at, so that neither the loop nor whoever reads next waits long for it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What a tenant's log keeps: the newest records within all three bounds."""

    max_messages: int = 100_000
    max_age_s: int = 24 * 3600
    max_bytes: int = 256 * 1024 * 1024


class Record(NamedTuple):
    """One message of a log channel. ``data`` and ``extra`` as in :class:`hub.core.message.Message`."""

    position: int
    channel: str
    data: bytes
    extra: bytes

    @property
    def size(self) -> int:
        """What it counts against the queue that it is read for."""
        return queued_size(self.channel, self.data, self.extra)


class Span(NamedTuple):
    """How far a tenant's log reaches: all that was ever published after ``floor`` is there, up to ``newest``, the newest record.

    ``floor`` is never 0: a log that begins anew, because its file is gone or it was in memory, cannot vouch for what was before it, so it
    begins at the microsecond before its making. Without records ``newest`` is ``floor``.
    """

    floor: int
    newest: int
    seam: int = 0
    """Where the log came back with less than it had, the first position after that: one below it may name another message than before, or
    one that is lost, so that nobody has recovered with it. 0 where that never happened.
    """


class Page(NamedTuple):
    """Some records in the order of their positions, perhaps none; up to ``end_position`` there are no others. With ``more`` the caller
    reads on from there.
    """

    records: Sequence[Record]
    end_position: int
    floor: int
    """The log's floor at the moment of reading: above the position that was asked for, something is missing."""
    more: bool


class Selection(NamedTuple):
    """Whose records are wanted: those for all of a tenant (audience ``""``) and one's own, of channels that a pattern stands for."""

    tenant: str
    audiences: tuple[str, ...]
    patterns: AbstractSet[str]

    def wants(self, channel: str) -> bool:
        """Whether one of the patterns stands for a channel: as many look-ups as its name is deep, however many patterns there are."""
        return not self.patterns.isdisjoint(candidates(channel))


class ChannelLog(Protocol):
    """Positions are one increasing number per tenant, ``max(previous + 1, microseconds since 1970)``, below 2^53: wildcards and several
    channels resume from one number, and positions from before a lost log never look valid. What :meth:`append` returned for is kept as
    the backend promises: on disk, or for as long as the process lives.

    Every method raises :class:`hub.eventlog.interface.EventLogError` when the backend fails or the log is closed.
    """

    async def append(self, topic: Topic, data: bytes, extra: bytes, idempotency_key: str = "") -> tuple[int, int] | None:
        """Append one message; returns its position, and one after which the topic had no other: its last one, as far as that is kept,
        else the floor. Messages get their positions in the order of the calls.

        With ``idempotency_key``, None and nothing is recorded where the topic has a record of that name, for as long as that is kept.
        """
        ...

    async def read(self, selection: Selection, after: int, max_bytes: int) -> Page:
        """The next records after a position: at most ``PAGE_RECORDS``, together of at most ``max_bytes``, but at least one where there is
        one among the ``SCAN`` that it looks at: what a page costs does not depend on how rare the records are, or how many the patterns.
        """
        ...

    async def span(self, tenant: str) -> Span:
        """How far back and forth the log reaches."""
        ...

    async def complete_since(self, topics: Sequence[Topic], after: int) -> bool:
        """Whether all that these topics, without wildcards, ever had after a position is surely there, although other topics' records of
        that time are gone.
        """
        ...

    async def trim(self) -> int:
        """Forget what :class:`Retention` does not keep; returns how many records."""
        ...

    async def close(self) -> None:
        """Write what waits and let go of files."""
        ...
