"""The channels of a subscribe or unsubscribe."""

from __future__ import annotations

from hub.bayeux.messages import Incoming
from hub.core.channels import InvalidChannelError, check_pattern
from hub.core.errors import RefusedError, WireError


def read_patterns(message: Incoming) -> list[str]:
    """The checked patterns of ``subscription``, each once.

    Raises:
        RefusedError: SUBSCRIPTION_MISSING or SUBSCRIPTION_INVALID.
        FieldError: neither a text nor an array of texts.
    """
    patterns = message.subscriptions()
    if patterns is None:
        raise RefusedError(WireError.SUBSCRIPTION_MISSING)
    if not patterns:
        raise RefusedError(WireError.SUBSCRIPTION_INVALID, "expected at least one channel, got an empty array")
    for pattern in patterns:
        try:
            check_pattern(pattern)
        except InvalidChannelError as error:
            raise RefusedError(WireError.SUBSCRIPTION_INVALID, str(error), channel=pattern) from None
    return list(dict.fromkeys(patterns))
