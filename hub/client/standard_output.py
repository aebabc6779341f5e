"""The ``hub`` command as a whole. If standard output cannot be written, every command ends with one sentence that says so."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12's

STDOUT: Final = 1
"""The file descriptor."""
NOT_WRITTEN: Final = 2
"""Exit code of a command whose output could not be written."""


class OutputError(OSError):
    """Standard output cannot be written."""


def sentence(error: OSError) -> str:
    """The sentence for an error of writing to standard output."""
    if error.errno == errno.EPIPE:
        return "whoever read standard output has closed it: the rest is not printed"
    if error.errno == errno.EBADF:
        return "standard output is closed: there is nowhere to print to"
    return f"standard output cannot be written: {error.strerror or error}"


class _Stdout(io.RawIOBase):
    """File descriptor 1. It keeps the first error and drops all output after it, so that buffers do not raise again."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return STDOUT

    def isatty(self) -> bool:
        return os.isatty(STDOUT)

    def write(self, data: Buffer, /) -> int:
        if self.error is None:
            try:
                return os.write(STDOUT, data)
            except OSError as error:
                self.error = error
                raise
        return memoryview(data).nbytes


def _watch_stdout() -> _Stdout:
    """Replace ``sys.stdout`` by a :class:`_Stdout`."""
    if sys.stdout is None:  # it was closed when Python started: reserve descriptor 1, on which each write fails
        nowhere = os.open(os.devnull, os.O_RDONLY)
        if nowhere != STDOUT:
            os.dup2(nowhere, STDOUT)
            os.close(nowhere)
    else:
        sys.stdout.flush()
    raw = _Stdout()
    encoding, errors = (sys.stdout.encoding, sys.stdout.errors) if sys.stdout is not None else ("utf-8", "strict")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=raw.isatty())
    return raw


class Command(typer.Typer):
    """A command line that says in one sentence why its output cannot be written: the pipe's reader has ended, the disk is full, or standard
    output is closed. The exit code is then 2.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and exit."""
        raw = _watch_stdout()
        code: Any = 0
        reported = False
        try:
            super().__call__(*args, **kwargs)
        except SystemExit as end:
            code = end.code
            # click and rich exit with 1 and print nothing when a pipe is closed; the commands themselves print why they end
            reported = not (code == 1 and raw.error is not None and raw.error.errno == errno.EPIPE)
        except OSError as error:
            if error is not raw.error:
                raise
        before = raw.error
        try:
            sys.stdout.flush()
        except OSError as error:
            raw.error = error
        if raw.error is not None and not (reported and raw.error is before):
            if sys.stderr is not None:
                sys.stderr.write(f"hub: {sentence(raw.error)}\n")
            code = NOT_WRITTEN
        sys.exit(code)
