"""A way to Redis that one hub uses, and on which it stops hearing while its commands are answered."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType

from tests.support.gate import Gate

START_WITHIN_S = 10.0


class _Selective(Gate):
    """A gate that can swallow what comes back on connections that subscribed to something."""

    def __init__(self, path: Path, upstream: Path) -> None:
        super().__init__(path, upstream)
        self.deaf = False
        self._subscribed: set[asyncio.BaseTransport] = set()

    async def _pump(self, line: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if line == "requests" and b"SUBSCRIBE" in data:
                    self._subscribed.add(source._transport)  # type: ignore[attr-defined]  # the client's
                elif line == "answers" and self.deaf and target.transport in self._subscribed:
                    continue
                target.write(data)
                await target.drain()
        except OSError:
            pass  # either end has gone
        finally:
            target.close()


class HearingGate:
    """The gate, in a thread of its own."""

    def __init__(self, path: Path, upstream: Path) -> None:
        self._gate = _Selective(path, upstream)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """As the setting ``redis_url`` takes it."""
        return f"unix://{self._gate.path}"

    def deafen(self) -> None:
        """From now on nothing comes back on connections that subscribed, those that will be made among them."""
        self._loop.call_soon_threadsafe(setattr, self._gate, "deaf", True)

    def hear(self) -> None:
        """Everything comes through again."""
        self._loop.call_soon_threadsafe(setattr, self._gate, "deaf", False)

    def __enter__(self) -> HearingGate:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._gate.start(), self._loop).result(START_WITHIN_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._gate.close(), self._loop).result(START_WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_WITHIN_S)
        self._loop.close()
