"""Yields files for an export: the :class:`hub.export.ExportSource` of the family. The bytes stay where they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import orjson

from channels.files import store_files
from channels.files.arns import Arns
from channels.files.serializers import file_details
from hub.export import ExportCursorError, ExportPage, ExportRecord, ExportSelection, RecordKind
from hub.storage.transactions import Transactions

KIND: Final = "file"


class FilesExport:
    """Files by the time at which they were announced."""

    kinds: Mapping[str, RecordKind] = {
        KIND: RecordKind("a file of an interaction or another resource: its name, size, state, who sent it", True, "/files/read")
    }

    __slots__ = ("_arns", "_transactions")

    def __init__(self, transactions: Transactions, arns: Arns) -> None:
        self._transactions = transactions
        self._arns = arns

    async def pages(self, selection: ExportSelection) -> AsyncIterator[ExportPage]:
        """See :class:`hub.export.ExportSource`."""
        if selection.page_records < 1 or not selection.kinds <= self.kinds.keys():
            raise ValueError(f"expected pages of at least 1 record of {', '.join(self.kinds)}, got {selection}")
        after = _parse(selection.cursor)
        limit = selection.page_records
        while selection.kinds:
            found = await self._transactions.read(
                lambda tx, after=after: store_files.between(tx, selection.tenant, selection.start_ms, selection.end_ms, after, limit)  # type: ignore[misc]
            )
            if found:
                after = (found[-1].created_ms, found[-1].id)
            records = tuple(ExportRecord(KIND, each.created_ms, each.id, orjson.dumps(file_details(each, self._arns))) for each in found)
            yield ExportPage(records, f"{after[0]}.{after[1]}" if after[1] else selection.cursor)
            if len(found) < limit:
                return


def _parse(cursor: str) -> tuple[int, str]:
    if not cursor:
        return -1, ""
    time_ms, dot, identifier = cursor.partition(".")
    if not dot or not identifier or not (time_ms.isascii() and time_ms.isdecimal() and len(time_ms) <= 16):
        raise ExportCursorError(f"expected the cursor of a page of files, got {cursor[:100]!r}")
    return int(time_ms), identifier
