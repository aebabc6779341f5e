"""What the family puts into a hub."""

from __future__ import annotations

from typing import Any, cast

from channels.events import EVENT_CONSUMER
from channels.statistics.family import family
from channels.statistics.settings import StatisticsSettings
from hub.family import Context
from tests.channels.statistics.support import Centre


class Sections:
    """The one section that the family reads."""

    statistics = StatisticsSettings(zone="UTC")


async def test_build() -> None:
    centre = Centre()
    context = Context(
        cast("Any", Sections()), centre.hub, centre.log, cast("Any", None), centre.clock, cast("Any", None), cast("Any", None)
    )
    parts = family.build(context)
    (server,) = parts.services
    assert parts.roles[EVENT_CONSUMER] is parts.roles["stat-server"] is server
    assert list(parts.roles["counters"]) == ["statistics"]
    assert {c.pattern: (c.delivery.value, c.personal) for c in parts.channels} == {
        "/statistics/v3/updates": ("state", True),
        "/statistics/v3/service": ("state", False),
        "/statistics/v3/values/**": ("state", False),
    }
    await server.start()
    assert await parts.readiness["statistics"]() is None
    await server.stop()
