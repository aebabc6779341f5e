"""The interface by which each family erases one person's data (:attr:`hub.family.Parts.eraser`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Person:
    """The person whose data is erased: everybody in the tenant who matches one of these fields. At least one is not empty."""

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
    """Erases a person's data from the records of a family."""

    async def erase(self, person: Person) -> Mapping[str, int]:
        """Delete every record that belongs to the person alone, and remove the person's data from records that are kept. Returns how many
        records of each kind were changed or deleted. A second call finds nothing more to erase and returns zeros; so an interrupted
        erasure can be repeated as a whole.

        Raises:
            StorageError: the database cannot be written; some of the data may be erased already.
        """
        ...
