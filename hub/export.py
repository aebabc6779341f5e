"""Exports, as families see them: each that holds records offers them in pages (:attr:`hub.family.Parts.export_source`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class RecordKind(NamedTuple):
    """A kind of record that a family exports."""

    summary: str
    """What one record is, in words."""
    personal: bool
    """Whether a record may hold data of a person."""
    operation: str = ""
    """The REST operation that whoever exports it needs beside that of exporting; empty: none."""


class ExportRecord(NamedTuple):
    """One record."""

    kind: str
    time_ms: int
    """The time by which records are selected and ordered, in milliseconds since 1970 UTC."""
    id: str
    """Unique within its kind and tenant. Records of one time are in the order of their ids."""
    body: bytes
    """A JSON object, UTF-8, on one line."""


class ExportPage(NamedTuple):
    """Some records in the order of time and id, perhaps none."""

    records: tuple[ExportRecord, ...]
    cursor: str
    """Where the next page begins: :attr:`ExportSelection.cursor` of a run that goes on after this page."""


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """Which records are wanted."""

    tenant: str
    kinds: frozenset[str]
    """Some of :attr:`ExportSource.kinds`."""
    start_ms: int
    """The first time that is wanted, in milliseconds since 1970 UTC."""
    end_ms: int
    """The first time after it that is not. It lies in the past and does not move while an export runs."""
    cursor: str = ""
    """Empty at the beginning, else the cursor of the last page that was taken."""
    page_records: int = 500
    """Records of one page at most."""


class ExportCursorError(ValueError):
    """A cursor that is none of this source."""


class ExportSource(Protocol):
    """Pages of what a family holds. It reads by key, never by offset, in one read transaction a page: a record that changes meanwhile is
    exported in its old or its new form, and none that existed before the export began and still exists is missed.
    """

    @property
    def kinds(self) -> Mapping[str, RecordKind]:
        """The kinds of records that there are, by name."""
        ...

    def pages(self, selection: ExportSelection) -> AsyncIterator[ExportPage]:
        """The pages of a selection, in order. The last one may be empty.

        Raises:
            ExportCursorError: the cursor is none.
            StorageError: the database cannot be read; the export may go on later from the last page's cursor.
            ValueError: a kind that the source does not have, or a page of less than one record.
        """
        ...
