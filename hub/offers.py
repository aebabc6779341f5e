"""What families offer to one another, found by type: one family offers a part at a port, another asks who offers something there.

What the hub itself takes from a family has a field of its own in :class:`hub.family.Parts`. A port is for what only families know, such
as who takes the events of a contact centre.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar, cast

T = TypeVar("T")


class Offer(NamedTuple):
    """One part at one port; made by :meth:`Port.offer`."""

    port: object
    part: object


class Port(Generic[T]):
    """A place where parts of one type are offered. It is known by the object itself, not by its name; make one constant for each."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """``name`` is for error messages."""
        self.name = name

    def __repr__(self) -> str:
        return f"Port({self.name!r})"

    def offer(self, part: T) -> Offer:
        """Offer a part here."""
        return Offer(self, part)

    def among(self, offers: Iterable[Offer]) -> list[T]:
        """The parts that were offered here, in their order."""
        return [cast("T", offer.part) for offer in offers if offer.port is self]
