"""Writes to a standard output that may be slow: a pipe whose reader does not read blocks neither the connection nor Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from queue import SimpleQueue

from hub.client.standard_output import OutputError


class Output:
    """Writes to standard output in a daemon thread: a write that is blocked does not keep the process from ending."""

    __slots__ = ("_file", "_queue", "_thread")

    def __init__(self) -> None:
        self._file = sys.stdout.fileno()
        self._queue: SimpleQueue[tuple[bytes, asyncio.Future[None]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def write(self, text: str) -> None:
        """Write a text as UTF-8; returns when all of it is written.

        Raises:
            OutputError: it cannot be written.
            BrokenPipeError: the reader has closed the pipe.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_forever, name="stdout", daemon=True)
            self._thread.start()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put((text.encode("utf-8", "surrogatepass"), written))
        await written

    def _write_forever(self) -> None:
        while True:
            text, written = self._queue.get()
            error: OSError | None = None
            try:
                while text:  # not through sys.stdout: a blocked thread would hold its lock when the process ends
                    text = text[os.write(self._file, text) :]
            except BrokenPipeError as gone:
                error = gone
            except OSError as failed:
                error = OutputError(failed.errno, failed.strerror)
            try:
                written.get_loop().call_soon_threadsafe(_tell, written, error)
            except RuntimeError:  # the loop has ended: no caller waits
                return


def _tell(written: asyncio.Future[None], error: OSError | None) -> None:
    if written.done():  # the caller was cancelled
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
