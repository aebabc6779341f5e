"""Clients that upload a file to a hub again and again: ``python -m bench.uploading PORT FILE COUNT``. It ends when its input does.

Each of COUNT clients uploads to a key of its own in the demo's media storage. A line is printed when all have begun, and at the end how
many uploads were taken; any other answer is an error. The process takes only the time that nobody else wants of its core: whoever measures
latency there does not wait for it.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

WITHIN_S: Final = 120

_CALLS: Final = "/via/v3/organizations/demo/mediaStorage/data"


def link(port: int, key: str, call: str = "signedUploadUrl") -> str:
    """A link of the demo's media storage, for uploads or, by ``signedDownloadUrl``, for downloads."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    connection.request("GET", f"{_CALLS}/{call}?key={quote(key, safe='')}", headers={"Authorization": "Bearer demo-token"})
    told = json.loads(connection.getresponse().read())
    connection.close()
    return str(told[call])


class Uploads:
    """Uploads that go on, ``count`` at a time."""

    def __init__(self, port: int, file: Path, count: int) -> None:
        self._port = port
        self._file = file
        self._begun = threading.Barrier(count + 1)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._again, args=(number,)) for number in range(count)]
        self.taken = 0
        self.faults: list[str] = []

    def start(self) -> None:
        """Return when all have sent the head of their first upload."""
        for each in self._threads:
            each.start()
        self._begun.wait(WITHIN_S)

    def stop(self) -> None:
        """Return when those that are under way have ended."""
        self._ended.set()
        for each in self._threads:
            each.join()

    def _again(self, number: int) -> None:
        begun = False
        while not self._ended.is_set():
            parts = urlsplit(link(self._port, f"imports/bench/{number}"))
            with socket.create_connection(("127.0.0.1", self._port), timeout=WITHIN_S) as wire, self._file.open("rb") as content:
                head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
                wire.sendall(f"{head}Content-Length: {self._file.stat().st_size}\r\n\r\n".encode())
                if not begun:
                    begun = True
                    self._begun.wait(WITHIN_S)
                wire.sendfile(content)
                answer = wire.recv(4096)
            if not answer.startswith(b"HTTP/1.1 200"):
                self.faults.append(answer.decode("latin-1"))
                return
            self.taken += 1


def main(port: int, file: Path, count: int) -> None:
    """Upload until the input ends."""
    uploads = Uploads(port, file, count)
    uploads.start()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    sys.stdin.read()
    uploads.stop()
    if uploads.faults:
        raise SystemExit(f"expected every upload to be taken, got {uploads.faults[0][:300]}")
    sys.stdout.write(f"{uploads.taken}\n")


if __name__ == "__main__":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
