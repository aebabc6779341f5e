"""Looks whether the content of a file is what its name and its declared type say (docs/files.md#content)."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from channels.files.file_types import TYPES, extension_of
from channels.files.models import FileRecord
from hub.http.filetypes import FileTypeError, charset_of, check_kind, served_type
from hub.objects.sniffing import sniff_stored
from hub.objects.store import ObjectStore

AT_ONCE: Final = 8
"""Files that a process looks at, at once: each has some pieces of a store in memory, and for an archive its directory."""


class Verdict(NamedTuple):
    """What was found."""

    content_type: str
    """The type under which the file is given to others."""
    refusal: str
    """Why it is refused; empty: it is not."""


class ContentCheck:
    """Looks at files in the store, without the whole of one in memory."""

    __slots__ = ("_allowed", "_slots", "_store")

    def __init__(self, store: ObjectStore, extensions: tuple[str, ...]) -> None:
        """``extensions``: those that files may have."""
        self._store = store
        self._allowed = frozenset(TYPES[each] for each in extensions)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def check(self, file: FileRecord) -> Verdict:
        """Look at the content of a file whose bytes are in the store.

        Raises:
            ObjectNotFoundError: they are not.
            StoreUnavailableError: the store does not answer.
        """
        key = file.key
        assert key is not None
        async with self._slots:
            kind = await sniff_stored(lambda span: self._store.get(key, span), file.size, charset_of(file.content_type))
        by_name = TYPES[extension_of(file.name)]
        try:
            found = check_kind(kind, filename=file.name, declared=file.content_type, allowed=self._allowed)
            check_kind(kind, filename=file.name, declared=by_name, allowed=self._allowed)
        except FileTypeError as error:
            return Verdict(file.content_type, str(error))
        return Verdict(served_type(found, file.content_type), "")
