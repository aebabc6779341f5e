"""Standard output that may be slow: a pipe whose reader is stuck holds up neither the connection nor Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from queue import SimpleQueue

from hub.client.standard_output import OutputError


class Output:
    """Writes to standard output in a thread of its own, which does not outlive the process: what is stuck there is given up at the end."""

    __slots__ = ("_file", "_queue", "_thread")

    def __init__(self) -> None:
        self._file = sys.stdout.fileno()
        self._queue: SimpleQueue[tuple[bytes, asyncio.Future[None]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def write(self, text: str) -> None:
        """Write a text as UTF-8; returns when all of it is written.

        Raises:
            OutputError: it cannot be written.
            BrokenPipeError: nobody reads any more.
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
                while text:  # past Python's own buffer, whose lock a stuck thread would hold at the end of the process
                    text = text[os.write(self._file, text) :]
            except BrokenPipeError as gone:
                error = gone
            except OSError as failed:
                error = OutputError(failed.errno, failed.strerror)
            try:
                written.get_loop().call_soon_threadsafe(_tell, written, error)
            except RuntimeError:  # the loop has ended: nobody waits for it
                return


def _tell(written: asyncio.Future[None], error: OSError | None) -> None:
    if written.done():  # who wrote has given up
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
