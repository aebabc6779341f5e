"""The errors of chats, and how the hub's own REST API answers them. Amazon's API has names of its own for them, by their status
(docs/protocol/participants.md#errors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hub.http.errors import ApiError

if TYPE_CHECKING:
    from hub.http.error_table import ErrorTable


RETRY_S: Final = "60"
"""Seconds after which a chat may have ended."""


class AccessDeniedError(Exception):
    """The token is none of this hub, has ended, or its participant has left or may not do this. The text says which."""


class UnknownParticipantError(LookupError):
    """The tenant has no participant of this id, which is the text of the error."""


class UnknownChatError(LookupError):
    """The tenant has no chat of this id, which is the text of the error."""


class ChatEndedError(Exception):
    """The chat is over. The text is the id of its interaction."""


class TooManyError(Exception):
    """A bound of chats is reached. ``setting`` is its name, ``limit`` its value; ``passes``: whether waiting helps."""

    def __init__(self, what: str, setting: str, limit: int, *, passes: bool) -> None:
        super().__init__(f"expected at most {limit} {what} ({setting}), got one more")
        self.setting = setting
        self.limit = limit
        self.passes = passes


class TooFastError(Exception):
    """A participant calls too often."""


class TranscriptFullError(Exception):
    """The transcript of a chat has as many items as it may have. The text says how many."""


class ClientTokenOfThePastError(Exception):
    """The participant whom a ClientToken let in has left. The text is the token."""


class TokenUsedError(Exception):
    """A ClientToken was used before, with other fields."""


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of chats are answered."""
    errors.add(AccessDeniedError, 403)
    errors.add(
        UnknownParticipantError,
        lambda error: ApiError.of_field("participantId", "a participant of this tenant", str(error), http_status=404),
    )
    errors.add(
        UnknownChatError,
        lambda error: ApiError.of_field("interactionId", "an interaction that is a chat", str(error), http_status=404),
    )
    errors.add(
        ChatEndedError,
        lambda error: ApiError.of_field("interactionId", "an interaction whose chat is not over", str(error), http_status=409),
    )
    errors.add(TooManyError, _too_many)
    errors.add(
        ClientTokenOfThePastError,
        lambda error: ApiError.of_field("clientToken", "one whose participant has not left", str(error), http_status=409),
    )
    errors.add(TooFastError, lambda error: ApiError(429, str(error), headers={"Retry-After": "1"}))
    errors.add(TranscriptFullError, 400)
    errors.add(TokenUsedError, lambda error: ApiError.of_field("ClientToken", "one that was not used for something else", str(error)))


def _too_many(error: TooManyError) -> ApiError:
    detail = {"setting": error.setting, "limit": error.limit}
    if not error.passes:  # clients would try again for ever
        return ApiError(409, str(error), detail=detail)
    return ApiError(429, str(error), detail=detail, headers={"Retry-After": RETRY_S})
