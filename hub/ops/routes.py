"""REST: ``/livez``, ``/readyz`` and ``/metrics`` (docs/operations.md)."""

from typing import Annotated

from fastapi import Request
from fastapi.responses import Response

from hub.core.principal import Principal
from hub.http.fast_routes import OpenRoute
from hub.http.permits import requires
from hub.http.responses import NO_STORE, EnvelopeResponse
from hub.http.routing import HubRouter
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.ops.schemas import Readiness


def create_router(health: Health, metrics: Metrics) -> HubRouter:
    """The routes; the first two need no credential."""
    router = HubRouter(tags=["Operations"])

    @router.get("/livez", summary="Is the process alive", response_model=Readiness, response_model_exclude_unset=True)
    async def livez() -> Response:
        """Answers 200 as long as the process answers at all."""
        return _live()

    @router.get(
        "/readyz",
        summary="Can the hub serve",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "A part fails, or the server is about to stop."}},
    )
    async def readyz() -> Response:
        """Answers 200 when this node lacks nothing of its own, else 503; the body says how each part is. Where parts fail that all
        nodes share, the status is `degraded`, with 503 under the setting `readiness.strict` alone.
        """
        return await _ready(health)

    @router.get(
        "/metrics", summary="Metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}, response_class=Response
    )
    async def scrape(request: Request, _: Annotated[Principal, requires("/metrics/read")]) -> Response:
        """The hub's metrics in Prometheus' text form, for administrators. On `metrics_port` they need no credentials. Where several workers
        serve on this machine, the answer has the metrics of each, with the label `worker`.
        """
        content_type, body = await metrics.answer(request.headers.get("accept", ""))
        return Response(body, media_type=content_type)

    return router


def create_open_routes(health: Health) -> list[OpenRoute]:
    """The routes that need no credential, for :class:`hub.http.fast_router.FastRouter`."""

    async def livez(_: Request) -> Response:
        return _live()

    async def readyz(_: Request) -> Response:
        return await _ready(health)

    return [OpenRoute("/livez", livez), OpenRoute("/readyz", readyz)]


def _live() -> Response:
    return EnvelopeResponse({"status": "ok"})


async def _ready(health: Health) -> Response:
    ready, body = await health.readiness()
    return EnvelopeResponse(body, 200 if ready else 503, headers=NO_STORE)
