"""What the family puts into a hub."""

from __future__ import annotations

from typing import Any, cast

from channels.events import EVENT_CONSUMERS
from channels.statistics.family import family
from channels.statistics.settings import StatisticsSettings
from hub.family import Context
from tests.channels.statistics.support import Centre


class Sections:
    """The one section that the family reads."""

    statistics = StatisticsSettings(zone="UTC")


async def test_build() -> None:
    centre = Centre()
    context = Context(cast("Any", Sections()), centre.hub, centre.log, cast("Any", None), centre.clock, cast("Any", None))
    parts = family.build(context)
    (server,) = parts.services
    assert EVENT_CONSUMERS.among(parts.offers) == [server]
    assert list(parts.counters) == ["statistics"]
    assert [gauge.name for gauge in parts.gauges] == [
        "statistics_objects",
        "statistics_interactions",
        "statistics_user_data_bytes",
        "statistics_held_bytes",
        "statistics_open",
        "statistics_events_waiting",
    ]
    assert {c.pattern: (c.delivery.value, c.personal) for c in parts.channels} == {
        "/statistics/v3/updates": ("state", True),
        "/statistics/v3/service": ("state", False),
        "/statistics/v3/values/**": ("state", False),
    }
    await server.start()
    assert await parts.readiness["statistics"]() is None
    await server.stop()
