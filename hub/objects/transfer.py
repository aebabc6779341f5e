"""What a family does with the files that links lead to, and how a request for a part of a file is understood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from hub.objects.links import FileLink, Purpose
from hub.objects.store import Span, Stored
from hub.offers import Port

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    """Where the bytes of an upload go."""

    key: str
    """A key of the store that no other upload has: of two that run at once, on whatever nodes, each has its own."""
    stored: Stored | None = None
    """What was uploaded by this link before; then nothing is written, and the same bytes are taken again, others are not."""
    max_bytes: int = 0
    """The most bytes that are taken by a link that names no size."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file that may be read."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Without its quotes."""
    name: str
    """What a browser saves it as."""
    content_type: str
    modified_ms: int
    """When it was uploaded, in milliseconds since 1970 UTC."""


class Outcome(Enum):
    """What became of an upload whose bytes are in the store."""

    KEPT = auto()
    """The file has these bytes now."""
    SAME = auto()
    """Another upload was first, with the same bytes."""
    OTHER = auto()
    """Another upload was first, with other bytes."""
    GONE = auto()
    """The file was deleted, or has ended, meanwhile."""


class NoRoomError(Exception):
    """The owner takes no more bytes of this tenant: a quota is used up. The text says which one, and what to do."""


class LinkUsedError(Exception):
    """The link was used already, and what it uploaded was replaced or deleted since. Each link is good for one upload."""


@dataclass(frozen=True, slots=True)
class Coming:
    """What a tenant's uploads that are under way to one owner announced together, this one included."""

    files: int
    bytes: int


class LinkOwner(Protocol):
    """The part of a family that knows the files of one purpose."""

    @property
    def purpose(self) -> Purpose:
        """The purpose of its links."""
        ...

    async def begin(self, link: FileLink, coming: Coming) -> Upload | None:
        """Where an upload goes; None: there is no such file, or it takes no bytes any more. Nothing of it was read yet.

        Raises:
            NoRoomError: what is coming does not fit into the tenant's quota.
            LinkUsedError: the link was used already.
        """
        ...

    async def finish(self, link: FileLink, upload: Upload, stored: Stored) -> Outcome:
        """Note that the bytes of an upload are in the store. Of several that come at once, one is :attr:`Outcome.KEPT`; the caller deletes
        the others' objects, and its own if this raises.

        Raises:
            NoRoomError: these bytes do not fit into the tenant's quota.
            LinkUsedError: the link was used meanwhile, and what it uploaded is gone.
        """
        ...

    async def find(self, link: FileLink) -> Download | None:
        """The file of a download; None: there is none, or it may not be read now."""
        ...


LINK_OWNERS: Final[Port[LinkOwner]] = Port("link owners")


class Unsatisfiable(Exception):
    """A range begins behind the end of the file (RFC 9110 section 15.5.17)."""


def read_range(value: str | None, size: int) -> Span | None:
    """The part of a file of ``size`` bytes that a header ``Range`` asks for; None: all of it, also where the header asks for several parts
    or is not understood, as RFC 9110 section 14.2 has it.

    Raises:
        Unsatisfiable: no byte of the file is in it.
    """
    found = _RANGE.fullmatch(value.strip()) if value is not None else None
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:  # the last bytes of the file
        if int(last) == 0 or size == 0:
            raise Unsatisfiable
        return Span(max(0, size - int(last)), size)
    start, end = int(first), min(int(last) + 1 if last else size, size)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, end)
