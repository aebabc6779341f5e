"""``POST /ingest/v1/events`` takes CloudEvents (docs/protocol/events.md#requests); ``/ingest/v1/schemas`` has their JSON Schemas."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import Query, Request
from starlette.responses import Response

from channels.events import EVENT_TYPES, EventSinkError
from channels.ingest.relayed import UncertainError
from channels.ingest.schemas import PATH, SchemaResponse, schema_list, schema_of
from channels.ingest.service import BATCH, LINE_TYPES, ONE, PLAIN, Ingest
from hub.core.principal import Principal
from hub.http.body import takes
from hub.http.envelope import MAX_ERRORS_TOLD, PARTIAL, failure, ok, with_more
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.fast_routes import OpenRoute
from hub.http.permits import permit, requires
from hub.http.responses import EnvelopeResponse
from hub.http.routing import HubRouter


def register_errors(errors: ErrorTable) -> None:
    """Register the HTTP answers to the errors of ingest."""
    errors.add(EventSinkError, lambda error: ApiError(503, f"nothing was taken, try again: {error}", headers={"Retry-After": "1"}))
    errors.add(
        UncertainError,
        lambda error: ApiError(
            503,
            f"perhaps nothing was taken; send the same events again, those that were taken count once: {error}",
            headers={"Retry-After": "1"},
        ),
    )


def answer(accepted: int, duplicates: int, failures: list[dict[str, Any]], count: int, most: int = MAX_ERRORS_TOLD) -> Response:
    """Build the answer: 200 with the counts, and ``status.code`` 2 if some events failed; 400 if none of ``count`` events was accepted or a
    repeat. At most ``most`` failures are listed; ``status.detail.moreErrors`` counts the others.
    """
    data = {"accepted": accepted, "duplicates": duplicates}
    failures.sort(key=_index)
    if not failures:
        return EnvelopeResponse(ok(data))
    if accepted or duplicates:
        partly = ok(data, code=PARTIAL, errors=failures[:most])
        if len(failures) > most:
            partly["status"]["detail"] = with_more({}, len(failures) - most)
        return EnvelopeResponse(partly)
    # the status names the error of a single event; of several events `errors` has the text of each
    first: dict[str, Any] = (
        failures[0]["status"] if count == 1 else {"message": f"none of {count} events was good; errors says why", "detail": {}}
    )
    message, detail = first["message"], with_more(first["detail"], len(failures) - most)
    return EnvelopeResponse({**failure(400, message, detail, errors=failures[:most]), "data": data}, 400)


def _index(failed: dict[str, Any]) -> int:
    index: int = failed["index"]
    return index


_PAST: Final = "`true`: events may be older than `statistics.max_behind_s`, for recordings. Needs the operation `/ingest/past`."


def _is_true(name: str, given: str | None) -> bool:
    """Parse a query parameter that is ``true`` or ``false``; absent and empty mean false.

    Raises:
        ApiError: 400, the value is neither.
    """
    if given in (None, "", "false"):
        return False
    if given != "true":
        raise ApiError.of_field(name, "true or false", given)
    return True


_EVENT_SCHEMA: Final = {
    "type": "object",
    "required": ["id", "source", "type", "data"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "id": {"type": "string", "minLength": 1, "maxLength": 1024},
        "source": {"type": "string", "minLength": 1, "maxLength": 1024},
        "type": {"type": "string", "enum": list(EVENT_TYPES)},
        "time": {"type": "string", "format": "date-time", "description": "the time that counts; without it the time of arrival"},
        "data": {"type": "object", "description": "by type; see /ingest/v1/schemas/{type}"},
    },
}
_EVENTS_SCHEMA: Final = {"type": "array", "items": _EVENT_SCHEMA}
_REQUEST_BODY: Final = {
    "required": True,
    "description": "Events in the structured mode, or with `ce-` headers the data of one event. `Content-Encoding: gzip` is taken.",
    "content": {
        ONE: {"schema": _EVENT_SCHEMA},
        BATCH: {"schema": _EVENTS_SCHEMA},
        **{lines: {"schema": {"type": "string", "description": "one event a line"}} for lines in LINE_TYPES},
        PLAIN: {"schema": {"oneOf": [_EVENT_SCHEMA, _EVENTS_SCHEMA]}},
    },
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The good events are on disk; status.code 2 when some failed, errors[].index says which"},
    400: {"description": "Malformed, or no event was good"},
    413: {"description": "More bytes or events than one request may have"},
    415: {"description": "A content type or a content encoding that is not accepted"},
    503: {"description": "The event log could not be written, or the node that takes the tenant's events cannot be reached"},
}


def create_router(ingest: Ingest) -> HubRouter:
    """The routes of ``ingest``, and those of the JSON Schemas."""
    router = HubRouter(prefix="/ingest/v1", tags=["Events"])

    @router.post("/events", summary="Send events", responses=_ANSWERS, openapi_extra={"requestBody": _REQUEST_BODY})
    @takes(ingest.max_body_bytes)
    async def post_events(
        request: Request,
        past: Annotated[str | None, Query(description=_PAST)] = None,
        caller: Principal = requires("/ingest/write"),
    ) -> Response:
        """Take CloudEvents: validate, drop repeats, order by time, write to disk, and only then answer."""
        wanted = _is_true("past", past)
        if wanted:
            await permit(request.app.state.gate, request.scope, "/ingest/past")
        most: int = request.app.state.limits.max_errors_told
        return answer(*await ingest.post(request, caller.tenant, past=wanted), most)

    router.get("/schemas", summary="The event types, each with the address of its schema")(list_schemas)
    router.get(
        "/schemas/{event_type}",
        summary="The JSON Schema of the data of one event type",
        response_class=SchemaResponse,
        responses={404: {"description": "There is no such event type."}},
    )(get_schema)

    return router


async def list_schemas(request: Request) -> Response:
    return schema_list().respond(request)


async def get_schema(request: Request, event_type: str) -> Response:
    if event_type not in EVENT_TYPES:
        raise ApiError.of_field("type", f"one of {', '.join(EVENT_TYPES)}", event_type, http_status=404)
    return schema_of(event_type).respond(request)


def open_routes() -> list[OpenRoute]:
    """The routes of the JSON Schemas for :class:`hub.http.fast_router.FastRouter`."""
    return [OpenRoute(PATH, list_schemas), *(OpenRoute(f"{PATH}/{name}", partial(get_schema, event_type=name)) for name in EVENT_TYPES)]
