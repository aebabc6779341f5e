"""Which channels carry which messages, and where in them media are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from channels.messaging.schemas import InboundContent, InboundRichMedia, MediaPart, Outbound, OutboundRichMedia, OutMediaPart
from hub.core.field_error import FieldError

EMAIL: Final = "email"
"""The type of the channels that carry e-mails. They carry nothing else, and other channels carry no e-mails."""

_OF_EMAIL: Final = ("Email",)
_OF_OTHERS: Final = ("Text", "RichMedia")


def check_message_type(channel_type: str, message_type: str, field: str) -> None:
    """Refuse a message that a channel cannot carry.

    Raises:
        FieldError: it cannot.
    """
    carried = _OF_EMAIL if channel_type == EMAIL else _OF_OTHERS
    if message_type not in carried:
        raise FieldError.of_value(field, f"{' or '.join(carried)}, which channels of type {channel_type} carry", message_type)


def media_urls(message: InboundContent | Outbound) -> Iterator[tuple[str, str]]:
    """The URLs of the media in a message, each with the path of its field."""
    if isinstance(message, InboundRichMedia | OutboundRichMedia):
        for index, part in enumerate(message.content):
            if isinstance(part, MediaPart | OutMediaPart):
                yield f"content.{index}.url", part.url
