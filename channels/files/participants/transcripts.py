"""Reads transcripts in pages that stand whatever is added meanwhile: a page begins at the number of an item
(docs/protocol/participants.md#transcript).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from channels.files.participants import store_chats, store_items
from channels.files.participants.models import Item, Participant
from hub.core.field_error import FieldError
from hub.storage.transactions import Transaction

_PLACE: Final = re.compile(r"([fb])(\d{1,15})", re.ASCII)


class Direction(StrEnum):
    """In which direction a transcript is read."""

    FORWARD = "FORWARD"
    BACKWARD = "BACKWARD"


class Place(NamedTuple):
    """Where a page begins: at this item, which is a part of it."""

    direction: Direction
    seq: int

    def text(self) -> str:
        """The ``NextToken`` for it."""
        return base64.urlsafe_b64encode(f"{'f' if self.direction is Direction.FORWARD else 'b'}{self.seq}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Query:
    """A page of a transcript that is asked for. Of id, time and count at most one is given."""

    limit: int
    ascending: bool
    direction: Direction | None = None
    next_token: str | None = None
    from_id: str | None = None
    from_ms: int | None = None
    most_recent: int | None = None
    """To begin at the item that has so many behind it, with itself; 0 is as 1."""


class Page(NamedTuple):
    """A page of a transcript."""

    items: list[Item]
    next_token: str | None


def read_place(text: str) -> Place:
    """The place of a ``NextToken``.

    Raises:
        FieldError: it is none.
    """
    try:
        found = _PLACE.fullmatch(base64.b64decode(text, altchars=b"-_", validate=True).decode("ascii"))
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise FieldError.of_value("NextToken", "the one of the page before", text)
    return Place(Direction.FORWARD if found[1] == "f" else Direction.BACKWARD, int(found[2]))


def read_page(transaction: Transaction, participant: Participant, query: Query) -> Page:
    """Read a page.

    Raises:
        FieldError: the ``NextToken`` is none, or the start is no item of this chat.
    """
    tenant, contact = participant.tenant, participant.contact
    place = read_place(query.next_token) if query.next_token is not None else _start(transaction, participant, query)
    read = store_items.forward if place.direction is Direction.FORWARD else store_items.backward
    found = read(transaction, tenant, contact, place.seq, query.limit + 1)
    page, rest = found[: query.limit], found[query.limit :]
    page.sort(key=lambda item: item.seq, reverse=not query.ascending)
    return Page(page, Place(place.direction, rest[0].seq).text() if rest else None)


def _start(transaction: Transaction, participant: Participant, query: Query) -> Place:
    tenant, contact = participant.tenant, participant.contact
    if query.from_id is not None:
        found = store_items.by_id(transaction, tenant, contact, query.from_id)
        if found is None:
            raise FieldError.of_value("StartPosition.Id", "the Id of an item of this chat", query.from_id)
        return Place(query.direction or Direction.FORWARD, found.seq)
    chat = store_chats.find(transaction, tenant, contact)
    newest = 0 if chat is None else chat.items
    if query.from_ms is not None:
        direction = query.direction or Direction.FORWARD
        if direction is Direction.FORWARD:
            since = store_items.first_since(transaction, tenant, contact, query.from_ms)
            return Place(direction, newest + 1 if since is None else since)
        return Place(direction, store_items.last_until(transaction, tenant, contact, query.from_ms) or 0)
    if query.most_recent is not None:
        return Place(query.direction or Direction.FORWARD, max(1, newest + 1 - max(1, query.most_recent)))
    direction = query.direction or Direction.BACKWARD
    return Place(direction, 1 if direction is Direction.FORWARD else newest)
