"""``/livez`` and ``/readyz``: two different checks.

Live: the process answers; an orchestrator restarts it when it does not. Ready: every part can serve now, and the server is not about to
stop; a load balancer sends it clients while it is ready. A part that fails for a moment makes the hub not ready, but it stays live: a
restart would only make all clients reconnect at once.

If a part fails that all nodes share, such as their database, the hub is degraded, but ready: else a load balancer would remove every node,
although most clients could still be served (docs/operations.md).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

CHECK_S: Final = 2.0
"""Seconds that one check may take; probes usually give up after 3."""

Check = Callable[[], Awaitable[str | None]]
"""Returns None if the part works, else a text that says what is wrong."""

_log = structlog.get_logger(__name__)


class Health:
    """The checks of a process, and whether it is stopping."""

    __slots__ = ("_asking", "_check_s", "_checks", "_shared", "_strict", "draining")

    def __init__(self, *, strict: bool = False, check_s: float = CHECK_S) -> None:
        """``strict``: a degraded hub is not ready; ``check_s``: how many seconds one check may take."""
        self._checks: dict[str, Check] = {}
        self._shared: set[str] = set()
        self._strict = strict
        self._check_s = check_s
        self._asking: asyncio.Task[list[str | None]] | None = None
        self.draining = False

    def drain(self) -> None:
        """The server is about to stop: it still answers, but ``/readyz`` says 503 from now on, so that no new clients are sent to it."""
        self.draining = True

    def register(self, part: str, check: Check, *, shared: bool = False) -> None:
        """Add a part; ``shared``: when it fails, it fails for all nodes alike.

        Raises:
            ValueError: there is a part of that name.
        """
        if part in self._checks:
            raise ValueError(f"the part {part} is registered twice")
        self._checks[part] = check
        if shared:
            self._shared.add(part)

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether the hub is ready, and the body of ``/readyz``. All checks run at the same time, each for at most ``check_s`` seconds.
        Calls during that time get the same results, because everybody may send any number of requests.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all(), name="hub.ops.health")
        answers = await asyncio.shield(self._asking)
        parts = {
            part: {"status": "ok"} if answer is None else {"status": "failing", "message": answer}
            for part, answer in zip(self._checks, answers, strict=True)
        }
        failing = {part for part, answer in zip(self._checks, answers, strict=True) if answer is not None}
        status = "draining" if self.draining else "failing" if failing - self._shared else "degraded" if failing else "ok"
        return status == "ok" or (status == "degraded" and not self._strict), {"status": status, "parts": parts}

    async def _ask_all(self) -> list[str | None]:
        try:
            return await asyncio.gather(*(self._ask(part, check) for part, check in self._checks.items()))
        finally:
            self._asking = None

    async def _ask(self, part: str, check: Check) -> str | None:
        try:
            async with asyncio.timeout(self._check_s):
                return await check()
        except TimeoutError:
            return f"no answer within {self._check_s:g} s"
        except Exception as error:  # its text may contain addresses or passwords, and /readyz is public: log it only
            _log.warning("health check failed", part=part, exc_info=True)
            return f"the check failed: {type(error).__name__}"
