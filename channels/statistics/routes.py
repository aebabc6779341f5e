"""The Statistics API, ``/statistics/v3`` (docs/protocol/statistics.md), and its administration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import Path, Query, Request
from fastapi.responses import Response

from channels.statistics.engine.definition import DefinitionError
from channels.statistics.parsing import encode_list, parse_request
from channels.statistics.schemas import (
    ObjectsResponse,
    PeekedStatisticResponse,
    PeekedStatisticsResponse,
    PeekRequest,
    StatisticDataResponse,
    StatServerResponse,
    StatusResponse,
    SubscriptionRequest,
)
from channels.statistics.service.interface import (
    LimitError,
    Login,
    Reading,
    Readings,
    Report,
    StatServer,
    UnansweredError,
    UnavailableError,
    UnknownSubscriptionError,
)
from channels.statistics.service.payloads import described
from channels.statistics.service.requests import ItemError, Refusal, check_id
from hub.core.principal import Principal
from hub.core.time_slice import TimeSlice
from hub.eventlog.interface import EventLogError
from hub.http.body import read_body, takes
from hub.http.envelope import MAX_ERRORS_TOLD, PARTIAL, ok, status, with_more
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.openapi import json_body, schema_of
from hub.http.permits import requires
from hub.http.responses import EnvelopeResponse
from hub.http.routing import HubRouter

BASE = "/statistics/v3"
ADMIN = "/api/v1"

_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": StatusResponse, "description": "A field is wrong: `status.message` names it, what was expected and what came."},
    401: {"model": StatusResponse, "description": "The token is missing, expired or wrong."},
    503: {"model": StatusResponse, "description": "The stat server is UNAVAILABLE."},
    504: {"model": StatusResponse, "description": "The stat server is there and did not answer in time."},
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": StatusResponse, "description": "There is no such subscription or statistic."}}

Verbose = Annotated[
    str | None, Query(description="`OFF` leaves out name, objectId and objectType. Default `INFO`.", examples=["INFO"], alias="verbose")
]


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of the stat server are answered."""
    errors.add(UnavailableError, 503)
    errors.add(UnansweredError, 504)
    errors.add(
        UnknownSubscriptionError,
        lambda error: ApiError(
            404, f"id: expected a subscription of this login, got {error}", detail={"field": "id", "subscriptionId": str(error)}
        ),
    )
    errors.add(ItemError, _of_field)
    errors.add(DefinitionError, _of_field)
    errors.add(LimitError, _of_field)


def _of_field(error: ItemError | DefinitionError | LimitError) -> ApiError:
    return ApiError(400, str(error), detail={"field": error.field})


def create_router(server: StatServer, slices: Callable[[], TimeSlice], *, max_body_bytes: int) -> HubRouter:
    """The Statistics API. Bodies above ``max_body_bytes`` are refused with 413. ``slices`` begins a piece of long work."""
    api = HubRouter(prefix=BASE, tags=["Statistics"], responses=_FAILURES)

    @api.post(
        "/subscriptions",
        summary="Open a subscription",
        response_model=None,
        responses={200: {"model": StatisticDataResponse}},
        openapi_extra=json_body(lambda: schema_of(SubscriptionRequest)),
    )
    @takes(max_body_bytes)
    async def open_subscription(
        request: Request, verbose: Verbose = None, caller: Principal = requires("/statistics/subscribe")
    ) -> Response:
        """Open statistics under one subscription and return their present values. The `operationId` becomes the `subscriptionId`; one that
        the same login uses already is replaced.

        When some statistics fail the status code is 2 and `errors` says which; when all fail the answer is 400.
        """
        described_too = _verbose(verbose)
        operation_id, items = await parse_request(await read_body(request, max_body_bytes), max_body_bytes, slices())
        name = None if operation_id is None else check_id("operationId", operation_id)
        done = await server.open_subscription(_login(caller), name, items, verbose=described_too)
        errors = [_error(refusal, {"statisticId": refusal.statistic_id}) for refusal in done.refusals]
        return _answer(done, errors, await _subscription(done, described_too, slices()))

    @api.get(
        "/subscriptions/{id}/statistic-values",
        summary="Get the values of statistics in a subscription",
        response_model=None,
        responses={200: {"model": StatisticDataResponse}, **_NOT_FOUND},
    )
    async def peek_subscription(
        identifier: Annotated[str, Path(alias="id", description="The subscriptionId.")],
        statistic_ids: Annotated[
            list[str] | None,
            Query(alias="statisticIds", description="Ids, repeated or joined by commas. Default: all."),
        ] = None,
        verbose: Verbose = None,
        caller: Principal = requires("/statistics/read"),
    ) -> Response:
        """The present values of the statistics of a subscription."""
        described_too = _verbose(verbose)
        done = await server.peek_subscription(_login(caller), identifier, statistic_ids or [])
        errors = [_error(refusal, {"statisticId": refusal.statistic_id}) for refusal in done.refusals]
        return _answer(done, errors, await _subscription(done, described_too, slices()), none=404)

    @api.delete(
        "/subscriptions/{id}",
        summary="Delete a subscription",
        response_model=None,
        responses={200: {"model": StatusResponse}},
    )
    async def close_subscription(
        identifier: Annotated[str, Path(alias="id", description="The subscriptionId.")],
        caller: Principal = requires("/statistics/subscribe"),
    ) -> Response:
        """Close all statistics of a subscription. It always succeeds, also for one that is not there
        (docs/protocol/statistics.md#closing).
        """
        await server.close_subscription(_login(caller), identifier)
        return EnvelopeResponse(ok())

    @api.get(
        "/statistic-values/{statisticName}",
        summary="Get the value of a single statistic",
        response_model=None,
        responses={200: {"model": PeekedStatisticResponse}, **_NOT_FOUND},
    )
    async def read_one(
        name: Annotated[str, Path(alias="statisticName", description="Name of a predefined statistic.")],
        object_id: Annotated[str | None, Query(alias="objectId", description="Required.")] = None,
        object_type: Annotated[str | None, Query(alias="objectType", description="Required.")] = None,
        caller: Principal = requires("/statistics/read"),
    ) -> Response:
        """The present value of one predefined statistic, without a subscription."""
        done = await server.read(_login(caller), [{"name": name, "objectId": object_id, "objectType": object_type}])
        for refusal in done.refusals:
            raise ApiError(404 if refusal.field == "name" else 400, refusal.message, detail={"field": refusal.field})
        return EnvelopeResponse(ok({"statistic": _item(done.readings[0])}))

    @api.post(
        "/operations/get-statistic-ex",
        summary="Get the values of a set of statistics",
        response_model=None,
        responses={200: {"model": PeekedStatisticsResponse}},
        openapi_extra=json_body(lambda: schema_of(PeekRequest)),
    )
    @takes(max_body_bytes)
    async def read_many(request: Request, caller: Principal = requires("/statistics/read")) -> Response:
        """The present values of predefined statistics, without a subscription. When some fail the code is 2 and `errors` says which."""
        _, items = await parse_request(await read_body(request, max_body_bytes), max_body_bytes, slices())
        done = await server.read(_login(caller), items)
        errors = [
            _error(refusal, {"name": refusal.name, "objectId": refusal.object_id, "objectType": refusal.object_type})
            for refusal in done.refusals
        ]
        return _answer(done, errors, {"statistics": await encode_list(done.readings, _item, slices())})

    return api


def create_administration_router(server: StatServer) -> HubRouter:
    """What an administrator asks the stat server."""
    admin = HubRouter(prefix=ADMIN, tags=["Stat server"], responses=_FAILURES)

    @admin.get("/objects/{objectType}", summary="List the known objects", response_model=None, responses={200: {"model": ObjectsResponse}})
    async def list_objects(
        object_type: Annotated[str, Path(alias="objectType", examples=["Agent"])], caller: Principal = requires("/statistics/read")
    ) -> Response:
        """The ids of the agents, queues or groups that events have named, and the built-in group `All`."""
        return EnvelopeResponse(ok({"objects": await server.objects(caller.tenant, object_type)}))

    @admin.delete(
        "/statistics/interactions/{id:path}",
        summary="Clear an interaction",
        response_model=None,
        responses={
            200: {"model": StatusResponse},
            404: {"model": StatusResponse, "description": "Nothing goes on in it."},
        },
    )
    async def clear_interaction(
        identifier: Annotated[str, Path(alias="id", description="The interactionId of its events.")],
        caller: Principal = requires("/admin/write"),
    ) -> Response:
        """End an interaction whose end no event told, in the statistics alone: it waits and rings no more, and its agents are released.
        Nothing is published and no webhook is sent.
        """
        if not await server.clear_interaction(caller.tenant, identifier):
            raise ApiError(
                404, f"id: expected an interaction in which something goes on, got {identifier}", detail={"field": "id", "got": identifier}
            )
        return EnvelopeResponse(ok())

    @admin.get("/stat-server", summary="The stat server's state", response_model=None, responses={200: {"model": StatServerResponse}})
    async def show(caller: Principal = requires("/statistics/read")) -> Response:
        """Service state, what is open, events, last snapshot."""
        return EnvelopeResponse(ok(_report(await server.report(caller.tenant))))

    @admin.post("/stat-server/stop", summary="Stop the stat server", response_model=None, responses={200: {"model": StatServerResponse}})
    async def stop(caller: Principal = requires("/statistics/control")) -> Response:
        """Go UNAVAILABLE and drop all subscriptions. Events are still taken into the log."""
        await server.stop_service(caller.tenant)
        return EnvelopeResponse(ok(_report(await server.report(caller.tenant))))

    @admin.post("/stat-server/start", summary="Start the stat server", response_model=None, responses={200: {"model": StatServerResponse}})
    async def start(caller: Principal = requires("/statistics/control")) -> Response:
        """Restore the statistics from the log and go AVAILABLE."""
        try:
            await server.start_service(caller.tenant)
        except EventLogError as error:
            raise ApiError(503, f"the statistics cannot be restored: {error}") from error
        return EnvelopeResponse(ok(_report(await server.report(caller.tenant))))

    return admin


def _login(caller: Principal) -> Login:
    return Login(caller.tenant, caller.login, caller.token_login, caller.subject)


def _verbose(value: str | None) -> bool:
    """Whether to name what each statistic is."""
    wanted = None if value is None else value.upper()
    if wanted not in (None, "INFO", "OFF"):
        raise ApiError.of_field("verbose", "INFO or OFF", value)
    return wanted != "OFF"


async def _subscription(done: Readings, verbose: bool, time_slice: TimeSlice) -> dict[str, Any]:
    def shown(reading: Reading) -> dict[str, Any]:
        return {"statisticId": reading.statistic_id} | _item(reading, verbose=verbose)

    return {
        "subscriptionId": done.subscription_id,
        "operationId": done.subscription_id,
        "statistics": await encode_list(done.readings, shown, time_slice),
    }


def _item(reading: Reading, *, verbose: bool = True) -> dict[str, Any]:
    head: dict[str, Any] = {}
    if verbose:
        head |= described(reading.name, reading.object_id, reading.object_type)
    beside = {"empty": True} if reading.empty else {}
    value = orjson.Fragment(reading.encoded) if reading.encoded else reading.value
    return head | {"value": value} | beside | {"timestamp": reading.timestamp}


def _error(refusal: Refusal, which: dict[str, str | None]) -> dict[str, Any]:
    """One element of ``errors``: which statistic, as far as it is legible, and which field."""
    detail = {key: value for key, value in which.items() if value is not None} | {"field": refusal.field}
    return {"status": status(refusal.code, refusal.message, detail)}


def _answer(done: Readings, errors: list[dict[str, Any]], data: dict[str, Any], *, none: int = 400) -> Response:
    """All went well: code 0. Some: HTTP 200, code 2. None: HTTP ``none``; ``detail`` is that of the first."""
    if not done.readings:
        first = errors[0]["status"]
        message = (
            first["message"] if len(errors) == 1 else f"none of the {len(errors)} statistics could be had; the first: {first['message']}"
        )
        raise ApiError(none, message, detail=with_more(first["detail"], len(errors) - MAX_ERRORS_TOLD), errors=errors[:MAX_ERRORS_TOLD])
    return EnvelopeResponse(ok(data, code=PARTIAL, errors=errors) if errors else ok(data))


def _report(report: Report) -> dict[str, Any]:
    return {
        "state": report.state.value,
        "statistics": report.statistics,
        "subscriptions": report.subscriptions,
        "logins": report.logins,
        "values": report.values,
        "objects": report.objects,
        "interactions": report.interactions,
        "position": report.position,
        "time": report.now_ms,
        "held": report.held,
        "eventsApplied": report.events_applied,
        "eventsRefused": report.events_refused,
        "lastSnapshot": report.snapshot_ms,
        "snapshotPosition": report.snapshot_position,
    }
