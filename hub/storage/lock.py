"""Keeps a file for one process, by a lock file beside it. The kernel releases the lock when the process ends."""

import fcntl
import os
from pathlib import Path


class InUseError(OSError):
    """Another process, or another part of this one, has locked the file."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"{path} is in use by process {holder}: one data folder serves one hub; stop the other hub or give this one its own --data-dir"
        )


def lock(path: Path) -> int:
    """Take the lock ``<path>.lock``; it is held as long as the returned descriptor is open.

    Raises:
        InUseError: the lock is held already.
        OSError: the lock file cannot be made.
    """
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InUseError(path, holder) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor
