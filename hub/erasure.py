"""Erasing one person's data, as families see it (:attr:`hub.family.Parts.eraser`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Person:
    """Whose data is meant: whoever is known by one of these, within one tenant. At least one is not empty."""

    tenant: str
    id: str = ""
    """The id of a user or a contact."""
    address: str = ""
    """An address of e-mail or messaging."""
    phone: str = ""
    """A telephone number."""

    def __post_init__(self) -> None:
        if not (self.id or self.address or self.phone):
            raise ValueError("a person: expected an id, an address or a phone number, got none of them")


class Eraser(Protocol):
    """Erases what a family holds of a person."""

    async def erase(self, person: Person) -> Mapping[str, int]:
        """Delete every record that is the person's alone, and take the person's data out of those that are kept. Returns how many records
        of each kind were changed or deleted. A second call finds nothing more to erase and returns zeros, so an erasure that was
        interrupted is repeated as a whole.

        Raises:
            StorageError: the database cannot be written; some of it may be erased already.
        """
        ...
