"""The JSON Schemas (2020-12) of the event types, public: producers validate before they send, and editors complete."""

from functools import cache, partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from channels.events import EVENT_TYPES, json_schema
from hub.http.assets import Asset
from hub.http.envelope import ascii_json, ok
from hub.http.errors import ApiError
from hub.http.fast_routes import OpenRoute
from hub.http.responses import EnvelopeResponse

PATH = "/ingest/v1/schemas"

router = APIRouter(prefix=PATH, tags=["Events"])


class SchemaResponse(EnvelopeResponse):
    """A JSON Schema as it is, without the envelope, so that validators can fetch it."""

    media_type = "application/schema+json"


@router.get("", summary="The event types, each with the address of its schema")
async def list_schemas(request: Request) -> Response:
    return _list().respond(request)


@router.get(
    "/{event_type}",
    summary="The JSON Schema of the data of one event type",
    response_class=SchemaResponse,
    responses={404: {"description": "There is no such event type."}},
)
async def get_schema(request: Request, event_type: str) -> Response:
    if event_type not in EVENT_TYPES:
        raise ApiError.of_field("type", f"one of {', '.join(EVENT_TYPES)}", event_type, http_status=404)
    return _schema(event_type).respond(request)


def open_routes() -> list[OpenRoute]:
    """The same, for :class:`hub.http.fast_router.FastRouter`."""
    return [OpenRoute(PATH, list_schemas), *(OpenRoute(f"{PATH}/{name}", partial(get_schema, event_type=name)) for name in EVENT_TYPES)]


@cache
def _list() -> Asset:
    types = [{"type": name, "description": shape.__doc__, "schema": f"{PATH}/{name}"} for name, shape in EVENT_TYPES.items()]
    return Asset(ascii_json(ok({"types": types})), "application/json")


@cache
def _schema(event_type: str) -> Asset:
    return Asset(ascii_json(json_schema(event_type)), SchemaResponse.media_type)
