"""Stores the bytes of media as files below one folder. A file is on disk whole, or not at all."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

ORPHAN_S: Final = 3_600
"""Seconds after which a file without a row in the database is removed: its upload was not finished."""

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PART: Final = ".part"
_MAX_NAME_BYTES: Final = 200
"""UTF-8 bytes of a file's name: file systems take 255."""

_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f-\x9f"*/:<>?\\|\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+')
"""Control characters, what file systems forbid, and marks that turn the direction of text, so that ``gpj.exe`` looks like ``exe.jpg``."""


def new_id() -> str:
    """Generate an id for a media resource; it cannot be guessed."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None


def clean_name(filename: str | None) -> str:
    """A file's name as others may see and save it: without folders, control characters and leading dots, of bounded length."""
    name = re.split(r"[/\\]", filename or "")[-1]
    name = _NOT_IN_NAMES.sub("_", name).strip(" .")
    if len(name.encode()) > _MAX_NAME_BYTES:
        stem, dot, extension = name.rpartition(".")
        extension = f"{dot}{extension}" if stem and len(extension) <= 10 else ""
        kept = name.encode()[: _MAX_NAME_BYTES - len(extension.encode())].decode(errors="ignore")
        name = f"{kept}{extension}"
    return name or "media"


def disposition(filename: str) -> str:
    """``Content-Disposition`` of a download: always saved, never shown (RFC 6266; the ASCII form is for clients without RFC 8187)."""
    plain = re.sub(r"[^A-Za-z0-9 ._()+,=@~-]", "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


class MediaFolder:
    """Files by id. Every call may block: call it from a thread."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, identifier: str, content: bytes) -> None:
        """Write a file. When this returns, the whole file is on disk under its name.

        Raises:
            OSError: it could not be written; nothing is left of it.
        """
        path = self._path(identifier)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(path.name + _PART)
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        for folder in (path.parent, self._folder):
            _sync(folder)

    def open(self, identifier: str) -> BinaryIO:
        """The file, to be read and closed.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._path(identifier).open("rb")

    def remove(self, identifier: str) -> None:
        """Remove a file, if it exists."""
        self._path(identifier).unlink(missing_ok=True)

    def orphans(self) -> Iterator[list[str]]:
        """Yield the ids of files that are older than :data:`ORPHAN_S`, folder by folder: each must have a row in the database. Parts of old
        unfinished uploads are removed.
        """
        before = time.time() - ORPHAN_S
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir()):
            found = []
            for path in folder.iterdir() if folder.is_dir() else ():
                try:
                    young = path.stat().st_mtime >= before
                except FileNotFoundError:
                    continue  # removed by a request meanwhile
                if young:
                    continue
                if path.suffix == _PART:
                    path.unlink(missing_ok=True)
                elif is_id(path.name):
                    found.append(path.name)
            if found:
                yield found

    def _path(self, identifier: str) -> Path:
        if not is_id(identifier):  # it becomes part of a path
            raise ValueError(f"expected an id of a media resource, got {identifier!r}")
        return self._folder / identifier[:2] / identifier


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
