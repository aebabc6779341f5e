"""Objects as files below one folder. A file is on disk whole, or not at all, and is synced before it counts."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from hub.objects.hashing import Hashed, SourceError, append, gathered
from hub.objects.store import (
    CHECKED_BYTES,
    PIECE_BYTES,
    Failed,
    InvalidKeyError,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    Span,
    Stored,
    StoreLink,
    StoreUnavailableError,
    check_folder,
    check_key,
)
from hub.objects.threads import in_hashing_thread, in_thread
from hub.storage.private_folder import make_private

T = TypeVar("T")

_PARTS: Final = ".parts"
"""The folder of unfinished files. No key can lead there: :data:`_HIDDEN` takes keys that begin with a dot elsewhere."""
_HIDDEN: Final = ".hidden"

ABANDONED_S: Final = 86_400
"""Seconds after which an unfinished file is removed: no upload lasts that long."""

_WALKS: Final = 4
"""Listings whose next page is waited for, at most: each family has one sweep."""
_WALK_KEPT_S: Final = 60.0
"""Seconds for which the next page of a listing is waited for. A listing tells what was in a folder when its first page came to it."""


class LocalStore:
    """A store in a folder of this machine."""

    __slots__ = ("_folder", "_parts", "_walks")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / _PARTS
        self._walks: dict[tuple[str, str], tuple[float, Iterator[tuple[str, Path]]]] = {}
        """Listings that go on, by folder and last key: a folder is read and sorted once, and not with each page."""

    async def put(self, key: str, pieces: AsyncIterator[bytes], size: int, *, create_only: bool = False, tenant: str = "") -> Stored:
        """See :meth:`hub.objects.store.ObjectStore.put`."""
        path = self._path(key)
        through = Hashed(size)
        part = await _opened(self._begin, lambda made: _drop(*made))
        try:
            with _told(key):
                async for batch in gathered(pieces, through):
                    await in_hashing_thread(append, part[1], batch, through)
                stored = through.finish()
                await in_thread(self._keep, *part, path, create_only)
        except BaseException as error:
            _drop(*part)  # not awaited: the caller may be cancelled, and nothing may be left
            if isinstance(error, SourceError):
                raise error.error from None
            raise
        return stored

    async def get(self, key: str, span: Span | None = None) -> AsyncIterator[bytes]:
        """See :meth:`hub.objects.store.ObjectStore.get`. The first piece is read where the file is opened: small ones need no more."""
        path = self._path(key)
        with _told(key):
            file, first = await _opened(partial(_begun, path, span), lambda made: made[0].close())
        return _pieces(file, first, span)

    async def open_file(self, key: str) -> BinaryIO:
        """See :meth:`hub.objects.store.ObjectStore.open_file`."""
        path = self._path(key)
        with _told(key):
            return await _opened(partial(_open, path), lambda made: made.close())

    async def head(self, key: str) -> ObjectInfo:
        """See :meth:`hub.objects.store.ObjectStore.head`."""
        path = self._path(key)
        with _told(key):
            return await in_thread(_info, path, key)

    async def delete(self, keys: Sequence[str]) -> None:
        """See :meth:`hub.objects.store.ObjectStore.delete`."""
        paths = [(key, self._path(key)) for key in keys]

        def remove(key: str, path: Path) -> None:
            with _told(key):
                try:
                    path.unlink(missing_ok=True)
                except (IsADirectoryError, NotADirectoryError):
                    return  # there is no object of this key, but a folder, or an object where its folder would be
                self._drop_empty(path.parent)

        def remove_all() -> None:
            failed = Failed()
            for key, path in paths:
                with failed.passing_over():
                    remove(key, path)
            failed.check()

        await in_thread(remove_all)

    async def objects(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[ObjectInfo]:
        """See :meth:`hub.objects.store.ObjectStore.objects`."""
        folder = check_folder(prefix)

        def walk() -> list[ObjectInfo]:
            found: list[ObjectInfo] = []
            walking = self._go_on(folder, after)
            with _told(prefix):
                for key, path in walking:
                    try:
                        found.append(_info(path, key))
                    except FileNotFoundError:
                        continue  # deleted meanwhile
                    if len(found) >= limit:
                        self._keep_walk(folder, found[-1].key, walking)
                        break
            return found

        return await in_thread(walk)

    async def folders(self, prefix: str, limit: int = 1000) -> Sequence[str]:
        """See :meth:`hub.objects.store.ObjectStore.folders`."""
        folder = check_folder(prefix)

        def walk() -> list[str]:
            with _told(prefix):
                names = [key for key, is_folder in _entries(self._place(folder), folder) if is_folder]
                names.sort(key=str.encode)
                # each that is returned is opened, and no other one
                return list(islice((f"{name}/" for name in names if _has_objects(self._place(name))), limit))

        return await in_thread(walk)

    async def copy(self, source: str, target: str) -> None:
        """See :meth:`hub.objects.store.ObjectStore.copy`."""
        origin, path = self._path(source), self._path(target)

        def copy() -> None:
            with _told(source), _open(origin) as file:
                part, written = self._begin()
                try:
                    shutil.copyfileobj(file, written, PIECE_BYTES)
                    self._keep(part, written, path, create_only=False)
                except BaseException:
                    _drop(part, written)
                    raise

        await in_thread(copy)

    def sign_put(self, key: str, size: int, content_type: str, lasts_s: int) -> StoreLink | None:
        """See :meth:`hub.objects.store.ObjectStore.sign_put`: a folder has no links of its own."""
        return None

    def sign_get(self, key: str, disposition: str, content_type: str, lasts_s: int) -> StoreLink | None:
        """See :meth:`hub.objects.store.ObjectStore.sign_get`: a folder has no links of its own."""
        return None

    def sign_upload(self, key: str, lasts_s: int) -> StoreLink | None:
        """See :meth:`hub.objects.store.ObjectStore.sign_upload`: a folder has no links of its own."""
        return None

    async def check(self) -> str | None:
        """See :meth:`hub.objects.store.ObjectStore.check`. It also removes files that were begun a day ago and never finished."""

        def attempt() -> str | None:
            self._drop_walks(time.monotonic())
            try:
                part, file = self._begin()
                try:
                    file.write(b"\0" * CHECKED_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
                finally:
                    _drop(part, file)
                before = time.time() - ABANDONED_S
                for path in self._parts.iterdir():
                    if path.stat().st_mtime < before:
                        path.unlink(missing_ok=True)
            except (OSError, StoreUnavailableError) as error:
                return f"{self._folder}: {error}"
            return None

        return await in_thread(attempt)

    async def close(self) -> None:
        """See :meth:`hub.objects.store.ObjectStore.close`: there is nothing to release."""

    def _path(self, key: str) -> Path:
        return self._place(check_key(key))

    def _place(self, key: str) -> Path:
        if not key:
            return self._folder
        return self._folder / _HIDDEN / key if key.startswith(".") else self._folder / key

    def _begin(self) -> tuple[Path, BinaryIO]:
        """Make an unfinished file.

        Raises:
            StoreUnavailableError: the folder of the store cannot be used.
        """
        part = self._parts / uuid.uuid4().hex
        try:
            make_private(self._parts)
            return part, open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except OSError as error:  # no key is at fault, whatever it is
            raise _unavailable(error) from error

    def _keep(self, part: Path, file: BinaryIO, path: Path, create_only: bool) -> None:
        """Give a finished file its name."""
        file.flush()
        os.fsync(file.fileno())
        file.close()
        made: set[Path] = set()
        while True:
            made.update(self._make_folder(path.parent))
            try:
                if create_only:
                    os.link(part, path)
                    part.unlink()
                else:
                    part.replace(path)
            except FileNotFoundError:
                if not part.exists():
                    raise
                continue  # the folder was removed in this moment, since its last object was: make it again
            break
        for folder in {path.parent, *made}:
            with suppress(FileNotFoundError):  # removed in this moment, since its last object was deleted: there is nothing to keep
                _sync(folder)

    def _make_folder(self, folder: Path) -> list[Path]:
        """Make a folder. Returns the folders that have a new entry by that."""
        changed: list[Path] = []
        while not folder.is_dir():
            try:
                folder.mkdir(mode=0o700)
            except FileNotFoundError:
                changed += self._make_folder(folder.parent)
                continue
            except FileExistsError:
                if not folder.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, "an object is where a folder would be", str(folder)) from None
            changed.append(folder.parent)
        return changed

    def _drop_empty(self, folder: Path) -> None:
        """Remove folders that have become empty."""
        while folder != self._folder:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _go_on(self, folder: str, after: str) -> Iterator[tuple[str, Path]]:
        """The objects below a folder after one: those that are left of a listing that came to it, or else those of a new one."""
        since, walking = self._walks.pop((folder, after), (0.0, None))
        if walking is None or time.monotonic() - since > _WALK_KEPT_S:
            return self._walk(folder, after.encode())
        return walking

    def _keep_walk(self, folder: str, last: str, walking: Iterator[tuple[str, Path]]) -> None:
        now = time.monotonic()
        self._drop_walks(now)
        while len(self._walks) >= _WALKS:
            self._walks.pop(next(iter(self._walks)), None)
        self._walks[folder, last] = now, walking

    def _drop_walks(self, now: float) -> None:
        """Forget listings that nobody went on with."""
        for at, (since, _) in list(self._walks.items()):
            if now - since > _WALK_KEPT_S:
                self._walks.pop(at, None)

    def _walk(self, folder: str, after: bytes) -> Iterator[tuple[str, Path]]:
        """Objects below a folder with their paths, sorted by their keys. Folders that lie before ``after`` are not opened."""
        entries = _entries(self._place(folder), folder)
        if not folder:
            entries = [each for each in entries if not each[0].startswith(".")] + _entries(self._folder / _HIDDEN, "")
        # a folder stands where its first object would: the slash counts
        for name, is_folder in sorted(entries, key=lambda each: (each[0] + "/" * each[1]).encode()):
            if not is_folder:
                if name.encode() > after:
                    yield name, self._place(name)
            elif after <= f"{name}/".encode() or after.startswith(f"{name}/".encode()):
                yield from self._walk(name, after)


@contextmanager
def _told(key: str) -> Iterator[None]:
    """Turn the errors of the file system into those of a store."""
    try:
        yield
    except FileNotFoundError:
        raise ObjectNotFoundError(f"there is no object {key!r}") from None
    except FileExistsError:
        raise ObjectExistsError(f"there is an object {key!r} already") from None
    except (IsADirectoryError, NotADirectoryError):
        raise InvalidKeyError(f"key: expected one that is no folder and has no object above it, got {key[:100]!r}") from None
    except OSError as error:
        raise _unavailable(error) from error


def _unavailable(error: OSError) -> StoreUnavailableError:
    return StoreUnavailableError(f"the folder of objects: {error.strerror or error}", errno.errorcode.get(error.errno or 0, ""))


def _entries(place: Path, folder: str) -> list[tuple[str, bool]]:
    """The entries of a folder: key, and whether it is a folder itself."""
    try:
        with os.scandir(place) as found:
            return [(f"{folder}/{each.name}" if folder else each.name, each.is_dir(follow_symlinks=False)) for each in found]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _has_objects(place: Path) -> bool:
    """Whether there is a file in a folder or below it."""
    inner: list[str] = []
    try:
        with os.scandir(place) as found:
            for each in found:
                if not each.is_dir(follow_symlinks=False):
                    return True
                inner.append(each.name)
    except FileNotFoundError:  # removed meanwhile, since its last object was
        return False
    return any(_has_objects(place / name) for name in inner)


async def _opened(begin: Callable[[], T], undo: Callable[[T], None]) -> T:
    """What ``begin`` opens in a thread. If the caller is cancelled meanwhile, the thread opens it all the same, and then it is undone."""
    opening = asyncio.ensure_future(in_thread(begin))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda done: None if done.cancelled() or done.exception() is not None else undo(done.result()))
        raise


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(errno.ENOENT, "a folder is no object", str(path)) from None


def _info(path: Path, key: str) -> ObjectInfo:
    try:
        found = path.stat()
    except NotADirectoryError:
        raise FileNotFoundError(errno.ENOENT, "an object is no folder", str(path)) from None
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "a folder is no object", str(path))
    return ObjectInfo(key, found.st_size, found.st_mtime_ns // 1_000_000)


def _drop(part: Path, file: BinaryIO) -> None:
    """Remove an unfinished file. Closing it may try to write what is left in its buffer once more, to a disk that is full."""
    part.unlink(missing_ok=True)
    with suppress(OSError):
        file.close()


def _begun(path: Path, span: Span | None) -> tuple[BinaryIO, bytes]:
    """Open a file. Returns it with the first piece of a span."""
    file = _open(path)
    try:
        if span is None:
            return file, file.read(PIECE_BYTES)
        file.seek(span.start)
        return file, file.read(max(0, min(PIECE_BYTES, span.end - span.start)))
    except BaseException:
        file.close()
        raise


async def _pieces(file: BinaryIO, piece: bytes, span: Span | None) -> AsyncIterator[bytes]:
    """The pieces of a span, of which the first was read."""
    try:
        left = None if span is None else span.end - span.start
        while piece:
            ended = len(piece) < PIECE_BYTES
            if left is not None:
                left -= len(piece)
            yield piece
            if ended or left == 0:
                return
            piece = await in_thread(file.read, PIECE_BYTES if left is None else min(PIECE_BYTES, left))
    finally:
        file.close()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
