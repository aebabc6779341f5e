"""The errors of the family, and how REST answers them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from hub.http.errors import ApiError
from hub.objects.store import StoreUnavailableError

if TYPE_CHECKING:
    from hub.http.error_table import ErrorTable

_log = structlog.get_logger(__name__)


class UnknownChannelError(LookupError):
    """The tenant has no channel of this id, which is the text of the error."""


class ChannelGoneError(UnknownChannelError):
    """The channel was removed while a request was under way."""


class ChannelExistsError(Exception):
    """The tenant has a channel of this id already. The text of the error is the id."""


class NoWebhookError(Exception):
    """The channel has no webhook, so that no message can be sent by it. The text of the error is the channel's id."""


class UnknownMessageError(LookupError):
    """The channel has no message of this id, which is the text of the error."""


class UnknownMediaError(LookupError):
    """The channel has no media resource of this id, which is the text of the error."""


class MediaUnavailableError(Exception):
    """A file of media, or of a request's body, cannot be written or read now. ``__cause__`` is the :class:`OSError`."""


@contextmanager
def files() -> Iterator[None]:
    """Within it, an error of the file system or of the object store is raised as :class:`MediaUnavailableError`."""
    try:
        yield
    except (OSError, StoreUnavailableError) as error:
        raise MediaUnavailableError(str(error)) from error


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of this family are answered."""
    errors.add(
        UnknownChannelError, lambda error: ApiError.of_field("channelId", "a messaging channel of this tenant", str(error), http_status=404)
    )
    errors.add(
        ChannelExistsError,
        lambda error: ApiError.of_field("id", "an id that the tenant has no channel of yet", str(error), http_status=409),
    )
    errors.add(NoWebhookError, _no_webhook)
    errors.add(
        UnknownMessageError,
        lambda error: ApiError.of_field("messageId", "the id of a message of this channel that is kept", str(error), http_status=404),
    )
    errors.add(
        UnknownMediaError, lambda error: ApiError.of_field("mediaId", "a media resource of this channel", str(error), http_status=404)
    )
    errors.add(MediaUnavailableError, _media_unavailable)


def _no_webhook(error: NoWebhookError) -> ApiError:
    return ApiError(409, f"channel {error} has no webhook: expected one, got none", detail={"field": "webhook", "expected": "a URL"})


def _media_unavailable(error: MediaUnavailableError) -> ApiError:
    _log.error("media_not_stored", exc_info=error.__cause__)
    return ApiError(503, "media cannot be stored or read now: try again", headers={"Retry-After": "1"})
