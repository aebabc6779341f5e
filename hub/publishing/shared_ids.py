"""The ids of published messages that nodes share (docs/scaling.md#ids-of-published-messages)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from hub.publishing.recent_ids import Answer, Key


class State(Enum):
    """What all nodes know of an id."""

    NEW = "n"
    """Nobody has published it: the caller is to do so."""
    DONE = "d"
    BUSY = "b"
    """Another caller is publishing it."""
    OTHER = "o"
    """It is the id of another message."""


class Claim(NamedTuple):
    """The answer about one id."""

    state: State
    since_ms: int = 0
    """Of a new one: when it was first new. Later callers that publish it, because an earlier one died, get the same."""
    answer: Answer = None
    """Of one that was published."""


class Claims(NamedTuple):
    """The answers about the ids of one call."""

    call: str
    """Names the call; :meth:`SharedIds.end` needs it."""
    claims: list[Claim]


class SharedIds(Protocol):
    """What all nodes know of the ids of the last ten minutes."""

    async def begin(self, tenant: str, messages: Sequence[tuple[Key, bytes]]) -> Claims | None:
        """Look up ids of a tenant, each with a digest of its message. The caller publishes those that are new, and reports to :meth:`end`
        how that ended. None if the common memory does not answer: each node then knows its own ids alone.
        """
        ...

    async def end(self, tenant: str, call: str, outcomes: Sequence[tuple[Key, Answer, bool]]) -> None:
        """Report of each id its position, and whether its message was published. If that is lost, the ids are free again some seconds
        later.
        """
        ...
