"""What chats count; ``/metrics`` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class ChatCounters:
    """Since the start of the process."""

    METRICS: ClassVar = (
        CounterFamily(
            "ended",
            "Chats that ended, by reason.",
            "reason",
            {"ended_left": "left", "ended_idle": "idle", "ended_expired": "expired", "ended_interaction": "interaction"},
        ),
        CounterFamily(
            "refused",
            "Calls and connections of participants that were refused, by reason.",
            "reason",
            {
                "refused_tokens": "token",
                "refused_rate": "rate",
                "refused_bounds": "bound",
                "refused_sockets": "sockets",
                "refused_frames": "frame",
            },
        ),
    )

    started: int = 0
    """Chats that began."""
    ended_left: int = 0
    """Chats that ended because their participants left."""
    ended_idle: int = 0
    """Chats that ended because nothing was said for long."""
    ended_expired: int = 0
    """Chats that ended because their own time was over."""
    ended_interaction: int = 0
    """Chats that ended because their interaction finished elsewhere."""
    participants: int = 0
    """Participants that were let in."""
    messages: int = 0
    """Messages that participants sent."""
    events: int = 0
    """Events that participants sent."""
    attachments: int = 0
    """Files that participants attached."""
    sockets: int = 0
    """WebSockets of participants that were opened."""
    too_slow: int = 0
    """WebSockets that were closed because their client did not read."""
    refused_tokens: int = 0
    """Calls and WebSockets whose token is none, or has ended."""
    refused_rate: int = 0
    """Calls of participants who called too often."""
    refused_bounds: int = 0
    """Chats, participants and items beyond what there may be."""
    refused_sockets: int = 0
    """WebSockets beyond what a participant, or the process, may have."""
    refused_frames: int = 0
    """WebSockets that were closed for what they sent."""
    trimmed: int = 0
    """Chats that were deleted because they were old."""
