"""The JSON Schemas (2020-12) of the event types, public: producers validate before they send, and editors complete."""

from fastapi import APIRouter
from starlette.responses import Response

from channels.events import EVENT_TYPES, json_schema
from hub.ops.envelope import ApiError, EnvelopeResponse, ok

router = APIRouter(prefix="/ingest/v1/schemas", tags=["Events"])


class SchemaResponse(EnvelopeResponse):
    """A JSON Schema as it is, without the envelope, so that validators can fetch it."""

    media_type = "application/schema+json"


@router.get("", summary="The event types, each with the address of its schema")
async def list_schemas() -> Response:
    types = [{"type": name, "description": shape.__doc__, "schema": f"/ingest/v1/schemas/{name}"} for name, shape in EVENT_TYPES.items()]
    return EnvelopeResponse(ok({"types": types}))


@router.get(
    "/{event_type}",
    summary="The JSON Schema of the data of one event type",
    response_class=SchemaResponse,
    responses={404: {"description": "There is no such event type."}},
)
async def get_schema(event_type: str) -> Response:
    if event_type not in EVENT_TYPES:
        raise ApiError.of_field("type", f"one of {', '.join(EVENT_TYPES)}", event_type, http_status=404)
    return SchemaResponse(json_schema(event_type))
