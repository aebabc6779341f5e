"""Foreign client libraries in a process of their own, driven by the test: see tests/clients/node/harness.mjs for the protocol."""

from __future__ import annotations

import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

NODE_FOLDER = Path(__file__).parents[1] / "clients" / "node"
RECORD_SEPARATOR = "\x1e"
REPLY_WITHIN_S = 20.0

Event = dict[str, Any]


def why_no_node() -> str | None:
    """Return None if the Node clients can run here, else what is missing."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    missing = [name for name in ("cometd", "cometd8", "faye") if not (NODE_FOLDER / "node_modules" / name).is_dir()]
    if missing:
        return f"the packages {', '.join(missing)} of tests/clients/node are not installed: run `make test`, or `npm ci` in that folder"
    return None


class PuppetProcess:
    """One process that runs client libraries; :meth:`client` makes another client in it. Each wait has a limit, and its error says what
    happened instead.
    """

    def __init__(self, script: str, *, program: str = "node", folder: Path = NODE_FOLDER, environment: Mapping[str, str] = {}) -> None:
        self._process = subprocess.Popen(
            [program, script],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._calls = itertools.count(1)
        self._clients = itertools.count(1)
        self._replies: dict[int, Event] = {}
        self._events: list[Event] = []
        self._printed: list[str] = []
        self._incoming: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self.wait(None, "ready")

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            printed, separator, record = line.partition(RECORD_SEPARATOR)
            if separator:
                self._incoming.put(json.loads(record))
            if printed.strip():
                self._printed.append(printed.rstrip())
        self._incoming.put(None)

    def client(self) -> Puppet:
        """Make another client."""
        return Puppet(self, next(self._clients))

    def start(self, client: int, name: str, *args: Any) -> int:
        """Call a client's command without waiting; :meth:`result` waits."""
        number = next(self._calls)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": number, "client": client, "name": name, "args": args}) + "\n")
        self._process.stdin.flush()
        return number

    def result(self, number: int, name: str, *, timeout: float) -> Any:
        """Return the result of the command that :meth:`start` began with this number.

        Raises:
            AssertionError: the command failed, or did not answer in time.
        """
        reply = self._take_until(lambda: self._replies.pop(number, None), timeout, f"reply to {name}")
        assert "error" not in reply, f"{name}: {reply['error']}"
        return reply["result"]

    def wait(
        self, client: int | None, event: str, where: Callable[[Event], bool] = lambda _: True, *, timeout: float = REPLY_WITHIN_S
    ) -> Event:
        """Return the first event of a client that has this name, meets the condition, and was not returned by an earlier wait."""

        def find() -> Event | None:
            for index, candidate in enumerate(self._events):
                if (candidate["client"], candidate["event"]) == (client, event) and where(candidate):
                    return self._events.pop(index)
            return None

        found: Event = self._take_until(find, timeout, f"event {event!r}")
        return found

    def waiting(self, client: int, event: str) -> list[Event]:
        """Return the events of a client that have this name and were not returned yet."""
        while True:
            try:
                record = self._incoming.get_nowait()
            except queue.Empty:
                return [candidate for candidate in self._events if (candidate["client"], candidate["event"]) == (client, event)]
            if record is not None:
                self._sort(record)

    def take_all(self, *names: str) -> dict[int, list[Event]]:
        """Remove and return the events of all clients that have these names, in their order. All other events are dropped."""
        self.waiting(0, "")
        taken: dict[int, list[Event]] = {}
        for each in self._events:
            if each["event"] in names:
                taken.setdefault(each["client"], []).append(each)
        self._events.clear()
        return taken

    def forget(self, client: int) -> None:
        """Drop the events of a client."""
        self._events = [event for event in self._events if event["client"] != client]

    def _take_until(self, found: Callable[[], Any], timeout: float, what: str) -> Any:
        until = time.monotonic() + timeout
        while (result := found()) is None:
            try:
                record = self._incoming.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                raise AssertionError(
                    f"no {what} within {timeout} s; waiting events: {self._events}; printed: {self._printed[-20:]}"
                ) from None
            if record is None:
                raise AssertionError(f"the client's process ended while the test waited for {what}; printed: {self._printed[-20:]}")
            self._sort(record)
        return result

    def _sort(self, record: Event) -> None:
        if "call" in record:
            self._replies[record["call"]] = record
        else:
            self._events.append(record)

    def freeze(self) -> None:
        """Stop the process, as a laptop does that goes to sleep."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a stopped process."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._reader.join(5)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # the command that the killed process did not read
        self._process.stdout.close()


class Puppet:
    """One client in a :class:`PuppetProcess`."""

    def __init__(self, process: PuppetProcess, number: int) -> None:
        self.process = process
        self.number = number

    def call(self, name: str, *args: Any, timeout: float = REPLY_WITHIN_S) -> Any:
        """Call one of the script's commands and wait for its result.

        Raises:
            AssertionError: the command failed, or did not answer in time.
        """
        return self.process.result(self.process.start(self.number, name, *args), name, timeout=timeout)

    def start(self, name: str, *args: Any) -> Callable[[], Any]:
        """Call a command without waiting. Calling what it returns waits for the result."""
        number = self.process.start(self.number, name, *args)
        return lambda: self.process.result(number, name, timeout=REPLY_WITHIN_S)

    def wait(self, event: str, where: Callable[[Event], bool] = lambda _: True, *, timeout: float = REPLY_WITHIN_S) -> Event:
        """Return the first event that has this name, meets the condition, and was not returned by an earlier wait."""
        return self.process.wait(self.number, event, where, timeout=timeout)

    def meta(self, channel: str, where: Callable[[Event], bool] = lambda _: True, *, timeout: float = REPLY_WITHIN_S) -> Event:
        """Return the next message on a meta channel that meets the condition."""
        found = self.wait("meta", lambda event: event["channel"] == channel and where(event["message"]), timeout=timeout)
        message: Event = found["message"]
        return message

    def message(self, channel: str | None = None, *, timeout: float = REPLY_WITHIN_S) -> Event:
        """Return the next message that a subscription delivered (on this channel)."""
        found = self.wait("message", lambda event: channel is None or event["message"]["channel"] == channel, timeout=timeout)
        message: Event = found["message"]
        return message

    def waiting(self, event: str) -> list[Event]:
        """Return the events that have this name and were not returned yet."""
        return self.process.waiting(self.number, event)

    def drop(self) -> None:
        """Leave the client. It disconnects if it can, and its later events are ignored."""
        self.call("drop")
        self.process.forget(self.number)
