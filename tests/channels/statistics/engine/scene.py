"""A contact centre for tests: events in a few words, values by name."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from channels.events import EVENT_TYPES, Event
from channels.statistics.engine import Engine, ObjectType, Statistic, Value, parse_definition, predefined

UTC = ZoneInfo("UTC")

ALIASES = {
    "agent": "agentId",
    "ixn": "interactionId",
    "type": "callType",
    "to": "toAgentId",
    "giver": "fromAgentId",
    "to_queue": "toQueue",
    "place": "placeId",
    "group": "groupId",
    "user_data": "userData",
}


def moment(text: str, zone: ZoneInfo = UTC) -> int:
    """``2026-03-10 09:00:00.250`` in a zone, as milliseconds since 1970."""
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


NINE = moment("2026-03-10 09:00:00")
"""A Tuesday, 09:00 UTC."""


def event(at_ms: int, kind: str, /, **data: Any) -> Event:
    """An event of type ``cx.<kind>``."""
    fields = {ALIASES.get(key, key): value for key, value in data.items()}
    return Event(f"cx.{kind}", at_ms, "test", "1", msgspec.convert(fields, EVENT_TYPES[f"cx.{kind}"]))


class Scene:
    """An engine that is at 09:00 of a Tuesday; times of events are seconds from there."""

    def __init__(self, *, zone: ZoneInfo = UTC, start_ms: int = NINE) -> None:
        self.start_ms = start_ms
        self.engine = Engine(zone=zone, now_ms=start_ms)

    def ms(self, seconds: float) -> int:
        return self.start_ms + round(seconds * 1000)

    def at(self, seconds: float, kind: str, /, **data: Any) -> Scene:
        """Check and apply an event."""
        found = event(self.ms(seconds), kind, **data)
        self.engine.check(found)
        self.engine.apply(found)
        return self

    def until(self, seconds: float) -> Scene:
        """Let time pass."""
        self.engine.advance(self.ms(seconds))
        return self

    def open(self, object_type: str, object_id: str, name: str | None = None, **definition: Any) -> Statistic:
        """Open a predefined statistic, or one by its definition."""
        kind = ObjectType(object_type)
        opened = predefined(name, kind) if name is not None else parse_definition(definition, kind)
        return self.engine.open(opened.definition, kind, object_id)

    def value(self, object_type: str, object_id: str, name: str | None = None, **definition: Any) -> Value:
        """The value of a statistic that is opened for this look only."""
        statistic = self.open(object_type, object_id, name, **definition)
        value = self.engine.value(statistic)
        self.engine.close(statistic)
        return value

    def number(self, object_type: str, object_id: str, name: str | None = None, **definition: Any) -> int:
        """The whole number of a value."""
        return self.value(object_type, object_id, name, **definition).int_value

    def status(self, agent: str, category: str, mask: str, **more: Any) -> int:
        """A number over the statuses of an agent."""
        return self.number("Agent", agent, category=category, subject="AgentStatus", mainMask=mask, **more)

    def action(self, agent: str, category: str, mask: str, **more: Any) -> int:
        """A number over the actions of an agent."""
        return self.number("Agent", agent, category=category, subject="DNAction", mainMask=mask, **more)

    def queue(self, queue: str, category: str, mask: str, **more: Any) -> int:
        """A number over the actions of a queue."""
        return self.number("Queue", queue, category=category, subject="DNAction", mainMask=mask, **more)

    def tree(self, agent: str, **more: Any) -> dict[str, Any]:
        """The state of an agent."""
        found = self.value("Agent", agent, category="CurrentState", subject="AgentStatus", mainMask="*", **more).state_value
        assert found is not None
        return found
