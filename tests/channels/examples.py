"""One whole example of the data of every event type, and what is wrong with which field."""

from collections.abc import Iterator
from typing import Any

WHOLE: dict[str, dict[str, Any]] = {
    "cx.agent.login": {"agentId": "ana.lopez", "placeId": "P1", "dn": "7001", "media": ["voice", "chat"], "groups": ["Team North"]},
    "cx.agent.logout": {"agentId": "ana.lopez", "media": "voice"},
    "cx.agent.ready": {"agentId": "ana.lopez", "media": "chat"},
    "cx.agent.notready": {"agentId": "ana.lopez", "media": "voice", "reason": "lunch"},
    "cx.agent.aftercallwork": {"agentId": "ana.lopez", "media": "voice", "interactionId": "i1"},
    "cx.interaction.queued": {"interactionId": "i1", "queue": "billing", "media": "email", "userData": {"vip": True, "tries": [1, 2.5]}},
    "cx.interaction.distributed": {"interactionId": "i1", "queue": "billing", "toAgentId": "ana.lopez"},
    "cx.interaction.abandoned": {"interactionId": "i1", "queue": "billing", "agentId": "ana.lopez"},
    "cx.interaction.ringing": {"interactionId": "i1", "agentId": "ana.lopez", "queue": "billing", "media": "voice"},
    "cx.interaction.dialing": {"interactionId": "i1", "agentId": "ana.lopez", "queue": "billing", "media": "voice"},
    "cx.interaction.established": {
        "interactionId": "i1",
        "agentId": "ana.lopez",
        "callType": "inbound",
        "queue": "billing",
        "media": "voice",
    },
    "cx.interaction.held": {"interactionId": "i1", "agentId": "ana.lopez"},
    "cx.interaction.retrieved": {"interactionId": "i1", "agentId": "ana.lopez"},
    "cx.interaction.released": {"interactionId": "i1", "agentId": "ana.lopez"},
    "cx.interaction.rejected": {"interactionId": "i1", "agentId": "ana.lopez", "reason": "missed"},
    "cx.interaction.transferred": {"interactionId": "i1", "fromAgentId": "ana.lopez", "toAgentId": "ben.meyer"},
    "cx.interaction.started": {"interactionId": "i1", "media": "chat", "subtype": "InboundNew", "reason": "web"},
    "cx.interaction.finished": {"interactionId": "i1", "media": "chat", "subtype": "InboundNew", "reason": "done"},
    "cx.group.changed": {"groupId": "Team North", "kind": "agents", "members": ["ana.lopez", "ben.meyer"]},
}

REQUIRED: dict[str, tuple[str, ...]] = {
    "cx.agent.login": ("agentId",),
    "cx.agent.logout": ("agentId",),
    "cx.agent.ready": ("agentId",),
    "cx.agent.notready": ("agentId",),
    "cx.agent.aftercallwork": ("agentId",),
    "cx.interaction.queued": ("interactionId", "queue"),
    "cx.interaction.distributed": ("interactionId", "queue"),
    "cx.interaction.abandoned": ("interactionId",),
    "cx.interaction.ringing": ("interactionId", "agentId"),
    "cx.interaction.dialing": ("interactionId", "agentId"),
    "cx.interaction.established": ("interactionId", "agentId", "callType"),
    "cx.interaction.held": ("interactionId", "agentId"),
    "cx.interaction.retrieved": ("interactionId", "agentId"),
    "cx.interaction.released": ("interactionId", "agentId"),
    "cx.interaction.rejected": ("interactionId", "agentId", "reason"),
    "cx.interaction.transferred": ("interactionId", "fromAgentId", "toAgentId"),
    "cx.interaction.started": ("interactionId", "media"),
    "cx.interaction.finished": ("interactionId", "media"),
    "cx.group.changed": ("groupId", "kind", "members"),
}
"""The fields without which an event is refused (docs/protocol/events.md#types). Pairs of which one is required come on top."""

_ID = (5, True, "", "a\n", "a\x00b", "x" * 256, [], {})
_WRONG: dict[str, tuple[Any, ...]] = {
    "media": (5, "", "1st", "a b", "voice\n", "x" * 65, ["voice"]),
    "userData": (5, "x", []),
    "members": ("ana", [5], [""], {}),
    "groups": ("Team", [5], [""], {}),
    "kind": ("people", 5, ""),
    "callType": ("sideways", 5, ""),
    "subtype": (5, "x" * 65, []),
}


def _wrong() -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    for event_type, whole in WHOLE.items():
        for field in whole:
            data = [{**whole, field: value} for value in _values(event_type, field)]
            if field in REQUIRED[event_type]:
                data += [{name: value for name, value in whole.items() if name != field}, {**whole, field: None}]
            yield event_type, field, data


def _values(event_type: str, field: str) -> tuple[Any, ...]:
    if field == "reason":
        return ("other", 5, "") if event_type == "cx.interaction.rejected" else (5, "x" * 256, {})
    if field == "media" and event_type == "cx.agent.login":
        return ("voice", [5], [""], ["a b"], {})
    return _WRONG.get(field, _ID)


PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("cx.interaction.distributed", {"interactionId": "i1", "queue": "q"}),
    ("cx.interaction.distributed", {"interactionId": "i1", "queue": "q", "toAgentId": None}),
    ("cx.interaction.distributed", {"interactionId": "i1", "queue": "q", "toAgentId": "a", "toQueue": "b"}),
    ("cx.interaction.abandoned", {"interactionId": "i1"}),
    ("cx.interaction.abandoned", {"interactionId": "i1", "queue": None, "agentId": None}),
]
"""Data that breaks the rule of a pair of fields, of which one, or exactly one, must be there."""

WRONG = list(_wrong())
"""(type, field, several data with exactly that field wrong or missing)."""
