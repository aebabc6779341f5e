"""The statistic that a channel ``/statistics/v3/values/{objectType}/{objectId}/{name}`` stands for
(docs/protocol/statistics.md#values-channels).
"""

from __future__ import annotations

from channels.statistics.engine.definition import DefinitionError, parse_object_type
from channels.statistics.engine.library import predefined
from channels.statistics.service.interface import VALUES
from channels.statistics.service.requests import ItemError, Wanted, check_id
from hub.core.channels import from_segment
from hub.core.errors import RefusedError, WireError


def parse_values_channel(channel: str) -> Wanted:
    """What ``/statistics/v3/values/{objectType}/{objectId}/{name}`` stands for; the segments are percent-decoded.

    Raises:
        RefusedError: SUBSCRIPTION_INVALID, with what was expected and what came.
    """
    parts = channel.removeprefix(f"{VALUES}/").split("/")
    try:
        if not channel.startswith(f"{VALUES}/") or len(parts) != 3:
            raise ItemError("channel", f"expected {VALUES}/{{objectType}}/{{objectId}}/{{name}}, got {channel}")
        raw_type, object_id, name = (from_segment(part) for part in parts)
        object_type = parse_object_type(raw_type)
        check_id("objectId", object_id)
        return Wanted("", object_type, object_id, name, predefined(name, object_type))
    except (ItemError, DefinitionError) as error:
        raise RefusedError(WireError.SUBSCRIPTION_INVALID, str(error), channel=channel) from None
