"""``/livez`` and ``/readyz``: two questions, kept apart.

Live: the process answers; restart it when it does not. Ready: every part can serve now, and the server is not about to stop; send it
clients when it can. A part that fails for a moment makes the hub not ready, never dead: a restart would only add a storm of reconnects.

What all nodes miss alike, such as their common database, makes a hub degraded, not unready: a balancer that takes every node away leaves
its clients with nothing, where most of them could still be served (docs/operations.md).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hub.ops.envelope import EnvelopeResponse
from hub.ops.hot_paths import OpenPath

CHECK_S: Final = 2.0
"""Seconds that one check may take; probes usually give up after 3."""

Check = Callable[[], Awaitable[str | None]]
"""None if the part works, else what is wrong."""

_log = structlog.get_logger(__name__)


class PartHealth(BaseModel):
    """The state of a part."""

    status: str = Field(description="`ok` or `failing`.", examples=["ok"])
    message: str | None = Field(default=None, description="What is wrong.")


class Readiness(BaseModel):
    """The state of the hub and of each of its parts."""

    status: str = Field(
        description="`ok`; `degraded`: parts fail that all nodes share; `failing`: this node lacks something; `draining`.", examples=["ok"]
    )
    parts: dict[str, PartHealth] = Field(default_factory=dict, description="By name of the part.")


class Health:
    """The checks of a process, and whether it is stopping."""

    __slots__ = ("_asking", "_checks", "_shared", "_strict", "draining")

    def __init__(self, *, strict: bool = False) -> None:
        """``strict``: a hub that is degraded is not ready."""
        self._checks: dict[str, Check] = {}
        self._shared: set[str] = set()
        self._strict = strict
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
        """Whether the hub is ready, and the body of ``/readyz``. Every check runs at once, for 2 s at most; who asks meanwhile gets the
        same answers, for anybody may ask, as often as they like.
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
            async with asyncio.timeout(CHECK_S):
                return await check()
        except TimeoutError:
            return f"no answer within {CHECK_S:g} s"
        except Exception as fault:  # its text may hold addresses or passwords, and anybody may ask: it goes to the log alone
            _log.warning("health check failed", part=part, exc_info=True)
            return f"the check failed: {type(fault).__name__}"

    def router(self) -> APIRouter:
        """The two routes, open to everybody."""
        routes = APIRouter(tags=["Operations"])

        @routes.get("/livez", summary="Is the process alive", response_model=Readiness, response_model_exclude_unset=True)
        async def livez(request: Request) -> Response:
            """Answers 200 as long as the process answers at all."""
            return await self._live(request)

        @routes.get(
            "/readyz",
            summary="Can the hub serve",
            response_model=Readiness,
            responses={503: {"model": Readiness, "description": "A part fails, or the server is about to stop."}},
        )
        async def readyz(request: Request) -> Response:
            """Answers 200 when this node lacks nothing of its own, else 503; the body says how each part is. Where parts fail that all
            nodes share, the status is `degraded`, with 503 under the setting `readiness.strict` alone.
            """
            return await self._ready(request)

        return routes

    def open_paths(self) -> list[OpenPath]:
        """The same, for :class:`hub.transports.hot_paths.HotPaths`."""
        return [OpenPath("/livez", self._live), OpenPath("/readyz", self._ready)]

    async def _live(self, _: Request) -> Response:
        return EnvelopeResponse({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        ready, body = await self.readiness()
        return EnvelopeResponse(body, 200 if ready else 503, headers={"Cache-Control": "no-store"})
