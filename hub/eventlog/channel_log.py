"""The interface of the channel log, which keeps the messages of ``log`` channels by position (docs/protocol/channels.md#positions)."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hub.core.channels import candidates
from hub.core.message import Topic, queued_size

PAGE_RECORDS = 256
"""Records in one page at most."""

SCAN = 500
"""Records that are searched for one page at most, so that the event loop and other readers do not wait long."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The retention of a tenant's log: it keeps the newest records within all three limits."""

    max_messages: int = 100_000
    max_age_s: int = 24 * 3600
    max_bytes: int = 256 * 1024 * 1024


class Record(NamedTuple):
    """One message of a log channel. ``data`` and ``extra`` are those of :class:`hub.core.message.Message`."""

    position: int
    channel: str
    data: bytes
    extra: bytes

    @property
    def size(self) -> int:
        """The bytes that it counts in the queue of the subscriber for whom it is read."""
        return queued_size(self.channel, self.data, self.extra)


class Span(NamedTuple):
    """The range of a tenant's log: it has all messages that were ever published after ``floor``, up to ``newest``, the newest record.

    ``floor`` is never 0. A new log cannot know whether there was an earlier one, whose file was deleted or which was in memory. Therefore
    it begins at the microsecond before it was made. Without records, ``newest`` equals ``floor``.
    """

    floor: int
    newest: int
    seam: int = 0
    """The first position after the log lost records (for example when Redis restarted from an old copy); 0 if that never happened. A lower
    position may now stand for another message or for a lost one, so a subscriber that resumes from it has not recovered.
    """


class Page(NamedTuple):
    """Records in the order of their positions, perhaps none. Up to ``end_position`` there are no others. If ``more`` is true, the next page
    begins after that position.
    """

    records: Sequence[Record]
    end_position: int
    floor: int
    """The log's floor when the page was read. If it is above the position from which the caller reads, records are missing."""
    more: bool


class Selection(NamedTuple):
    """Selects records of a tenant by audience (``""`` is the whole tenant) and by channel, which one of the patterns must match."""

    tenant: str
    audiences: tuple[str, ...]
    patterns: AbstractSet[str]

    def wants(self, channel: str) -> bool:
        """Whether one of the patterns matches a channel. The time depends on the depth of its name, not on the number of patterns."""
        return not self.patterns.isdisjoint(candidates(channel))


class ChannelLog(Protocol):
    """A log whose positions rise through all log channels of a tenant: ``max(previous + 1, microseconds since 1970)``, below 2^53. A client
    can thus resume several channels and patterns from one number, and positions of a lost log never look valid. When :meth:`append`
    returns, the message is kept as the backend promises: on disk, or until the process ends.

    Every method raises :class:`hub.eventlog.interface.EventLogError` if the backend fails or the log is closed.
    """

    async def append(self, topic: Topic, data: bytes, extra: bytes, idempotency_key: str = "") -> tuple[int, int] | None:
        """Append one message. Returns its position and a lower one; between the two the topic has no other message. The lower one is the
        position of the topic's last message if the log still has it, else the floor. Positions follow the order of the calls.

        If the topic already has a record with this ``idempotency_key``, nothing is recorded and None is returned, as long as the log keeps
        that record.
        """
        ...

    async def read(self, selection: Selection, after: int, max_bytes: int) -> Page:
        """Read the next selected records after a position: at most ``PAGE_RECORDS``, and at most ``max_bytes`` together, but one in any
        case. Only the next ``SCAN`` records of the log are searched, so that a page takes the same time if selected records are rare.
        """
        ...

    async def span(self, tenant: str) -> Span:
        """The range of the log."""
        ...

    async def complete_since(self, topics: Sequence[Topic], after: int) -> bool:
        """Whether the log certainly has all messages of these topics after a position, although it may have deleted records of other
        topics. The topics have no wildcards.
        """
        ...

    async def erase(self, topic: Topic, picks: Callable[[bytes], bool]) -> int:
        """Delete the records of a topic whose data ``picks`` chooses; returns how many. The others keep their positions, and nobody is
        told of a gap: for a person's data, which nobody is to hear any more. ``picks`` may run in another thread.

        Records that are appended while it runs may be missed. Who has read a record before, still has it.
        """
        ...

    async def forget(self, tenant: str, older_than_s: float | None) -> int:
        """Delete the records of a tenant that are older than so many seconds, None: all of them; returns how many. Who asks for them is
        told of a gap, as after :meth:`trim`.
        """
        ...

    async def trim(self) -> int:
        """Delete the records that exceed the :class:`Retention`; returns how many."""
        ...

    async def close(self) -> None:
        """Write the waiting records and close the files."""
        ...
