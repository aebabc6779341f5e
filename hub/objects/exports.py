"""Where the hub puts what it exports for a tenant, so that the tenant's systems find it there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from hub.objects.store import Stored


class ExportFolder(Protocol):
    """The folder ``exports/`` of every tenant."""

    async def write(self, tenant: str, key: str, pieces: AsyncIterator[bytes], size: int) -> Stored:
        """Write a file, in place of one that has its key. It is listed, whole and durable, when this returns; when this raises, what was
        there before still is.

        Args:
            tenant: whose.
            key: the path of the file, such as ``exports/reporting/intraday/calls-2026-11-29T13.ndjson.gz``.
            pieces: its bytes, in pieces of any size.
            size: how many bytes they are together.

        Raises:
            hub.core.field_error.FieldError: the key is none of a file below ``exports/``.
            hub.objects.transfer.NoRoomError: the tenant's quota does not allow it.
            hub.objects.store.ObjectStoreError: the store does not take it.
            hub.storage.transactions.StorageError: the database cannot be written.
        """
        ...
