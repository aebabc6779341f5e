"""Parts that families offer to one another: one family offers a part at a port, and another looks up the parts that are offered there.

What the hub itself uses of a family has its own field in :class:`hub.family.Parts`. A port is for what only families use, such as the part
that ingests the events of a contact centre.
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
    """A place where parts of one type are offered. Ports are compared by identity, not by name, so make one constant for each."""

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
