"""Delivery classes, and which channel is of which class (docs/protocol/channels.md#delivery-classes)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from hub.core.channels import candidates, check_pattern, is_wildcard, lies_within, overlaps
from hub.core.ports import Snapshot, SnapshotPieces, Unwatch, Watch


class DeliveryClass(Enum):
    """How a channel recovers when messages were lost. Each class has one way, and they are never mixed."""

    EVENT = "event"
    """At most once; what is dropped is counted."""
    STATE = "state"
    """Keyed values. On overflow, after a gap and on subscribing, what waits is dropped and a snapshot is sent."""
    LOG = "log"
    """Messages have positions and are never dropped. Overflow disconnects the client, which comes back and replays."""


@dataclass(frozen=True, slots=True)
class ChannelDeclaration:
    """What a family declares about the channels that it owns."""

    pattern: str
    delivery: DeliveryClass
    summary: str
    operation: str = ""
    """The REST operation that its subscribers need beside the grant to subscribe, the one that reads the same data by REST; empty: none
    (docs/security.md#what-is-heard-where).
    """
    personal: bool = False
    """Messages are for one login, never for all of the tenant."""
    snapshot: Snapshot | None = None
    watch: Watch | None = None
    unwatch: Unwatch | None = None
    snapshot_pieces: SnapshotPieces | None = None
    """To be given instead of ``snapshot``, where there may be thousands of values."""

    def __post_init__(self) -> None:
        check_pattern(self.pattern)
        if self.delivery is DeliveryClass.STATE and self.snapshot is None and self.snapshot_pieces is None:
            raise ValueError(f"{self.pattern} is a state channel: it needs a snapshot")


_FREE = ChannelDeclaration("/**", DeliveryClass.EVENT, "any channel that no family owns")


class ChannelRegistry:
    """All declarations of a process; a channel that nobody declared is an ``event`` channel for all."""

    __slots__ = ("_by_channel", "_by_pattern")

    def __init__(self, declarations: Iterable[ChannelDeclaration] = ()) -> None:
        self._by_pattern: dict[str, ChannelDeclaration] = {}
        self._by_channel: dict[str, ChannelDeclaration] = {}
        for declaration in declarations:
            self.declare(declaration)

    def declare(self, declaration: ChannelDeclaration) -> None:
        """Add one declaration.

        Raises:
            ValueError: the pattern is declared already.
        """
        if declaration.pattern in self._by_pattern:
            raise ValueError(f"{declaration.pattern} is declared twice")
        self._by_pattern[declaration.pattern] = declaration
        self._by_channel.clear()

    def keep(self, pattern: str, summary: str) -> None:
        """Have channels kept as ``log`` that families declare otherwise, or not at all. To be called when all families declared theirs.

        What else is declared of them holds on, the operation that their subscribers need above all. Channels within ``pattern`` that are
        declared more exactly stay as they are.

        Raises:
            ValueError: they are ``state`` channels, which recover in another way.
        """
        found = _FREE
        for declared in self._by_pattern.values():
            if lies_within(pattern, declared.pattern) and lies_within(declared.pattern, found.pattern):
                found = declared
        if found.delivery is DeliveryClass.STATE:
            raise ValueError(f"{pattern} lies within {found.pattern}, which is a state channel: it cannot be kept")
        self._by_pattern[pattern] = replace(found, pattern=pattern, delivery=DeliveryClass.LOG, summary=summary)
        self._by_channel.clear()

    def of(self, channel: str) -> ChannelDeclaration:
        """The declaration that a channel falls under: the most exact one."""
        found = self._by_channel.get(channel)
        if found is None:
            found = next((self._by_pattern[c] for c in candidates(channel) if c in self._by_pattern), _FREE)
            if len(self._by_channel) >= 65536:  # names come from clients: the cache must not grow with them
                self._by_channel.clear()
            self._by_channel[channel] = found
        return found

    def overlapping(self, pattern: str) -> list[ChannelDeclaration]:
        """The declarations some of whose channels ``pattern`` stands for."""
        if not is_wildcard(pattern):
            return [self.of(pattern)]
        return [d for d in self._by_pattern.values() if overlaps(pattern, d.pattern)]

    def has_log(self, pattern: str) -> bool:
        """Whether ``log`` channels are among those that ``pattern`` stands for."""
        return any(declaration.delivery is DeliveryClass.LOG for declaration in self.overlapping(pattern))

    def covering(self, channel: str) -> str:
        """The pattern of the declaration that a channel falls under."""
        return self.of(channel).pattern

    def __iter__(self) -> Iterator[ChannelDeclaration]:
        return iter(self._by_pattern.values())
