"""The interface of exports: each family that has records yields them in pages (:attr:`hub.family.Parts.export_source`)."""

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
    """The REST operation that the caller must be allowed in addition to the export itself; empty: none."""


class ExportRecord(NamedTuple):
    """One record."""

    kind: str
    time_ms: int
    """The time by which records are selected and ordered, in milliseconds since 1970 UTC."""
    id: str
    """Unique within its kind and tenant. Records with the same time are ordered by id."""
    body: bytes
    """A JSON object, UTF-8, on one line."""


class ExportPage(NamedTuple):
    """Records in the order of time and id; may be empty."""

    records: tuple[ExportRecord, ...]
    cursor: str
    """Where the next page begins: the :attr:`ExportSelection.cursor` with which an export continues after this page."""


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """Which records to export."""

    tenant: str
    kinds: frozenset[str]
    """Some of :attr:`ExportSource.kinds`."""
    start_ms: int
    """The first time to export, in milliseconds since 1970 UTC."""
    end_ms: int
    """The end, exclusive, in milliseconds since 1970 UTC. It lies in the past and does not change while an export runs."""
    cursor: str = ""
    """Empty at the beginning, else the cursor of the last page that was read."""
    page_records: int = 500
    """The most records in one page."""


class ExportCursorError(ValueError):
    """The cursor is not one of this source."""


class ExportSource(Protocol):
    """The records of a family, in pages. It reads by key, never by offset, with one read transaction for each page. A record that changes
    during the export is exported in its old or its new form; every record that exists from the beginning to the end is exported.
    """

    @property
    def kinds(self) -> Mapping[str, RecordKind]:
        """The kinds of records of this family, by name."""
        ...

    def pages(self, selection: ExportSelection) -> AsyncIterator[ExportPage]:
        """The pages of a selection, in order. The last one may be empty.

        Raises:
            ExportCursorError: the cursor is not one of this source.
            StorageError: the database cannot be read; the export can continue later from the last page's cursor.
            ValueError: the selection has a kind that the source does not have, or pages of less than one record.
        """
        ...
