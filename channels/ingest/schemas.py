"""The JSON Schemas (2020-12) of the event types. They need no credential: producers validate with them, and editors complete names."""

from functools import cache

from channels.events import EVENT_TYPES, json_schema
from hub.core.json_text import ascii_json
from hub.http.assets import Asset
from hub.http.envelope import ok
from hub.http.responses import EnvelopeResponse

PATH = "/ingest/v1/schemas"


class SchemaResponse(EnvelopeResponse):
    """A JSON Schema without the envelope of other answers, so that validators can fetch it."""

    media_type = "application/schema+json"


@cache
def schema_list() -> Asset:
    """The event types, each with the address of its schema."""
    types = [{"type": name, "description": shape.__doc__, "schema": f"{PATH}/{name}"} for name, shape in EVENT_TYPES.items()]
    return Asset(ascii_json(ok({"types": types})), "application/json")


@cache
def schema_of(event_type: str) -> Asset:
    """The JSON Schema of one event type."""
    return Asset(ascii_json(json_schema(event_type)), SchemaResponse.media_type)
