"""REST: endpoints (``/api/v1/endpoints``) and their deliveries (``/api/v1/deliveries``), only of the caller's tenant."""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import Annotated, Any

import structlog
from fastapi import Path, Query, Request, Response

from hub.audit.log import AuditLog
from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.http.body import address_of
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.outbox import archive_store
from hub.outbox.administration import Administration, Change, EndpointTerms, UnknownEndpointError
from hub.outbox.archive_store import Attempt, Delivery, Wanted
from hub.outbox.example import Examples, TooManyExamplesError
from hub.outbox.models import DeliveryState, Endpoint, unknown_types
from hub.outbox.schemas import (
    LATEST_MS,
    DeliveriesAnswer,
    DeliveryAnswer,
    EndpointAnswer,
    EndpointChange,
    EndpointsAnswer,
    EndpointWithSecretAnswer,
    ExampleAnswer,
    NewEndpoint,
    NewSecret,
    ReplayedAnswer,
    Span,
)
from hub.outbox.service import Outbox

_log = structlog.get_logger(__name__)

MAX_PAGE: int = 1_000
"""Entries of one page."""

REPLAYED_AT_ONCE: int = 500
"""Deliveries that one transaction replays. Other transactions run between two of them."""


_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "The tenant has no such endpoint or delivery."}}
_BUSY: dict[int | str, dict[str, Any]] = {503: {"description": "The database cannot be reached; nothing was changed."}}

Identifier = Annotated[str, Path(alias="id", max_length=64)]
Number = Annotated[int, Path(alias="id", ge=1, le=LATEST_MS)]


def register_errors(errors: ErrorTable) -> None:
    """Register the HTTP answers to the errors of the outbox."""
    errors.add(UnknownEndpointError, lambda error: _unknown_endpoint(str(error)))
    errors.add(TooManyExamplesError, 429)


def create_router(
    outbox: Outbox, terms: EndpointTerms, audit: AuditLog, examples: Examples, clock: Clock, known: Collection[str] = ()
) -> HubRouter:
    """Make the routes. Their errors are answered by the table of :func:`register_errors`. Changes are recorded in ``audit``. ``known``:
    the event types that there are.
    """
    router = HubRouter(prefix="/api/v1", tags=["Webhooks"], responses=_BUSY)

    def entry(endpoint: Endpoint) -> dict[str, Any]:
        return _entry(endpoint, known)

    write, read = outbox.transactions.write, outbox.transactions.read

    def of(request: Request, caller: Principal) -> Administration:
        """What one caller does with endpoints."""
        return Administration(terms, audit.by(audit.caller(caller.tenant, caller.subject, address_of(request.scope))))

    @router.get("/endpoints", summary="All endpoints", response_model=EndpointsAnswer)
    async def endpoints(request: Request, caller: Annotated[Principal, requires("/endpoints/read")]) -> Response:
        """Where webhooks go, the oldest endpoint first."""
        found = await read(lambda tx: of(request, caller).all(tx, caller.tenant))
        return respond({"endpoints": [entry(each) for each in found]})

    @router.post("/endpoints", summary="Add an endpoint", response_model=EndpointWithSecretAnswer)
    async def add(request: Request, caller: Annotated[Principal, requires("/endpoints/write")], body: NewEndpoint) -> Response:
        """Add an endpoint. The answer has its secret, which is not shown again."""
        change = _change(body)
        made, secret = await write(lambda tx: of(request, caller).add(tx, caller.tenant, change, body.secret))
        _log.info("endpoint_added", tenant=caller.tenant, by=caller.subject, endpoint=made.id, url=made.url)
        return respond({**entry(made), "secret": secret})

    @router.get("/endpoints/{id}", summary="One endpoint", response_model=EndpointAnswer, responses=_UNKNOWN)
    async def endpoint(request: Request, caller: Annotated[Principal, requires("/endpoints/read")], identifier: Identifier) -> Response:
        """One endpoint."""
        return respond(entry(await read(lambda tx: of(request, caller).find(tx, caller.tenant, identifier))))

    @router.patch("/endpoints/{id}", summary="Change an endpoint", response_model=EndpointAnswer, responses=_UNKNOWN)
    async def change(
        request: Request, caller: Annotated[Principal, requires("/endpoints/write")], identifier: Identifier, body: EndpointChange
    ) -> Response:
        """Change what is given; deliveries follow at once."""
        wanted = _change(body)
        made = await write(lambda tx: of(request, caller).change(tx, caller.tenant, identifier, wanted))
        _log.info("endpoint_changed", tenant=caller.tenant, by=caller.subject, endpoint=made.id, fields=sorted(body.model_fields_set))
        return respond(entry(made))

    @router.delete("/endpoints/{id}", summary="Remove an endpoint", response_model=EndpointAnswer, responses=_UNKNOWN)
    async def remove(request: Request, caller: Annotated[Principal, requires("/endpoints/write")], identifier: Identifier) -> Response:
        """Remove an endpoint. Its pending deliveries are dead and cannot be replayed."""
        gone = await write(lambda tx: of(request, caller).remove(tx, caller.tenant, identifier))
        _log.info("endpoint_removed", tenant=caller.tenant, by=caller.subject, endpoint=gone.id, url=gone.url)
        return respond(entry(gone))

    @router.post("/endpoints/{id}/rotate-secret", summary="Rotate the secret", response_model=EndpointWithSecretAnswer, responses=_UNKNOWN)
    async def rotate(
        request: Request, caller: Annotated[Principal, requires("/endpoints/write")], identifier: Identifier, body: NewSecret | None = None
    ) -> Response:
        """Another secret. The one before signs beside it for 24 hours (`outbox.secret_overlap_h`)."""
        made, secret = await write(lambda tx: of(request, caller).rotate(tx, caller.tenant, identifier, body.secret if body else None))
        _log.info("endpoint_secret_rotated", tenant=caller.tenant, by=caller.subject, endpoint=made.id)
        return respond({**entry(made), "secret": secret})

    @router.post(
        "/endpoints/{id}/send-example",
        summary="Send an example",
        response_model=ExampleAnswer,
        responses={**_UNKNOWN, 429: {"description": "The tenant has as many examples under way as it may (`outbox.examples`)."}},
    )
    async def send_example(
        request: Request,
        caller: Annotated[Principal, requires("/endpoints/write")],
        identifier: Identifier,
        type: Annotated[str, Query(description="Of which event type.", max_length=64)] = "",
    ) -> Response:
        """POST an example to the endpoint now, once, whether it is enabled or not, and return what it answered."""
        found = await read(lambda tx: of(request, caller).find(tx, caller.tenant, identifier))
        return respond(_attempt(await examples.send(found, type)))

    @router.post("/endpoints/{id}/replay", summary="Replay a span of time", response_model=ReplayedAnswer, responses=_UNKNOWN)
    async def replay_span(
        request: Request, caller: Annotated[Principal, requires("/endpoints/write")], identifier: Identifier, body: Span
    ) -> Response:
        """Deliver again, with the whole schedule, every dead delivery of the endpoint that was made in a span of time."""
        await read(lambda tx: of(request, caller).find(tx, caller.tenant, identifier))
        total = 0
        while True:
            again = await write(
                lambda tx: archive_store.replay_span(
                    tx,
                    caller.tenant,
                    identifier,
                    since_ms=body.since,
                    until_ms=LATEST_MS if body.until is None else body.until,
                    now_ms=clock.wall_ms(),
                    limit=REPLAYED_AT_ONCE,
                )
            )
            total += again
            if again < REPLAYED_AT_ONCE:
                break
        outbox.replayed(identifier, total)
        _log.info("deliveries_replayed", tenant=caller.tenant, by=caller.subject, endpoint=identifier, deliveries=total)
        return respond({"replayed": total})

    @router.get("/deliveries", summary="What was delivered", response_model=DeliveriesAnswer)
    async def deliveries(
        caller: Annotated[Principal, requires("/endpoints/read")],
        endpoint: Annotated[str | None, Query(description="Only to this endpoint.", max_length=64)] = None,
        state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
        key: Annotated[str | None, Query(description="Only of this key, such as an interaction's id.", max_length=255)] = None,
        since: Annotated[int | None, Query(description="Only those made from then on, ms.", ge=0, le=LATEST_MS)] = None,
        until: Annotated[int | None, Query(description="Only those made before then, ms.", ge=0, le=LATEST_MS)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries of a page.")] = 100,
        cursor: Annotated[int | None, Query(ge=1, le=LATEST_MS, description="`data.cursor` of the page before.")] = None,
    ) -> Response:
        """The deliveries of the tenant, the newest first."""
        wanted = Wanted(endpoint, state, key, since, until)
        found = await read(lambda tx: archive_store.page(tx, caller.tenant, wanted, before=cursor, limit=limit))
        data: dict[str, Any] = {"deliveries": [_delivery(each) for each in found]}
        if len(found) == limit:
            data["cursor"] = str(found[-1].id)
        return respond(data)

    @router.get("/deliveries/{id}", summary="One delivery", response_model=DeliveryAnswer, responses=_UNKNOWN)
    async def delivery(caller: Annotated[Principal, requires("/endpoints/read")], number: Number) -> Response:
        """One delivery, with the body that is posted and the log of its attempts."""
        found = await read(lambda tx: archive_store.find(tx, caller.tenant, number))
        if found is None:
            raise _unknown_delivery(number)
        shown, payload, attempts = found
        return respond(
            {**_delivery(shown), "payload": payload.decode("utf-8", "replace"), "log": [_attempt(attempt) for attempt in attempts]}
        )

    @router.post(
        "/deliveries/{id}/replay",
        summary="Replay one delivery",
        response_model=ReplayedAnswer,
        responses={**_UNKNOWN, 409: {"description": "It is under way, or its endpoint is gone."}},
    )
    async def replay(caller: Annotated[Principal, requires("/endpoints/write")], number: Number) -> Response:
        """Deliver again, with the whole schedule, a delivery that is dead or was delivered."""
        row = await write(lambda tx: archive_store.replay(tx, caller.tenant, number, clock.wall_ms()))
        if row is None:
            raise _unknown_delivery(number)
        endpoint, state, enabled = row
        if state == DeliveryState.PENDING:
            raise ApiError(409, f"delivery {number} is under way: expected one that is delivered or dead, got pending")
        if enabled < 0:
            raise ApiError(409, f"the endpoint {endpoint} of delivery {number} was removed")
        outbox.replayed(endpoint, 1)
        _log.info("deliveries_replayed", tenant=caller.tenant, by=caller.subject, endpoint=endpoint, deliveries=1)
        return respond({"replayed": 1})

    return router


def _change(body: EndpointChange) -> Change:
    return Change(
        body.url, body.types, body.media, body.headers, body.description, body.concurrency, body.success, body.enabled, body.throttle
    )


def _entry(endpoint: Endpoint, known: Collection[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": endpoint.id,
        "url": endpoint.url,
        "types": list(endpoint.types),
        "media": list(endpoint.media),
        "headers": endpoint.headers,
        "description": endpoint.description,
        "concurrency": endpoint.concurrency,
        "success": endpoint.policy.success.value,
        "throttle": endpoint.policy.throttle.value,
        "enabled": endpoint.enabled,
        "disabledReason": endpoint.disabled_reason,
        "createdAt": endpoint.created_ms,
        "oldSecretsUntil": [each.until_ms for each in endpoint.secrets if each.until_ms is not None],
    }
    if endpoint.failing_since_ms is not None:
        entry["failingSince"] = endpoint.failing_since_ms
    if unknown := unknown_types(endpoint.types, known):
        entry["unknownTypes"] = unknown
    return entry


def _delivery(delivery: Delivery) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": delivery.id,
        "endpoint": delivery.endpoint,
        "type": delivery.type,
        "media": delivery.media,
        "key": delivery.key,
        "operationId": delivery.operation_id,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "createdAt": delivery.created_ms,
        "error": delivery.error,
    }
    if delivery.state == DeliveryState.PENDING:
        entry["nextAt"] = delivery.next_ms
    if delivery.finished_ms is not None:
        entry["finishedAt"] = delivery.finished_ms
    if delivery.status:
        entry["httpStatus"] = delivery.status
    return entry


def _attempt(attempt: Attempt) -> dict[str, Any]:
    try:
        body, encoded = attempt.body.decode(), False
    except UnicodeDecodeError:
        body, encoded = base64.b64encode(attempt.body).decode(), True
    entry: dict[str, Any] = {
        "number": attempt.number,
        "at": attempt.at_ms,
        "durationMs": attempt.duration_ms,
        "error": attempt.error,
        "body": body,
        "bodyBase64": encoded,
    }
    if attempt.status:
        entry["httpStatus"] = attempt.status
    return entry


def _unknown_endpoint(identifier: str) -> ApiError:
    return ApiError.of_field("id", "an endpoint of this tenant", identifier, http_status=404)


def _unknown_delivery(number: int) -> ApiError:
    return ApiError.of_field("id", "a delivery of this tenant that is still kept", number, http_status=404)
