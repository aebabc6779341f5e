"""The errors of the family, and how REST answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.interactions.models import Key
from channels.interactions.state_machine import IllegalActionError, PropertyError
from hub.http.errors import ApiError

if TYPE_CHECKING:
    from hub.http.error_table import ErrorTable


class UnknownInteractionError(LookupError):
    """There is no interaction of this key."""

    def __init__(self, key: Key) -> None:
        super().__init__(key.value)
        self.key = key


class KnownInteractionError(ValueError):
    """The service has an interaction of this external id: the one with the id ``id``."""

    def __init__(self, external_id: str, identifier: str) -> None:
        super().__init__(external_id)
        self.external_id = external_id
        self.id = identifier


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of this family are answered."""
    errors.add(UnknownInteractionError, _unknown)
    errors.add(KnownInteractionError, _known)
    errors.add(IllegalActionError, _illegal)
    errors.add(PropertyError, lambda error: ApiError.of_error(error, within="data."))


def _unknown(error: UnknownInteractionError) -> ApiError:
    field = "externalId" if error.key.external else "interactionId"
    return ApiError.of_field(field, "an interaction of this tenant and service", error.key.value, http_status=404)


def _known(error: KnownInteractionError) -> ApiError:
    detail = {"field": "data.externalId", "expected": "one that is new", "got": error.external_id, "interactionId": error.id}
    return ApiError(409, f"data.externalId: expected one that is new, got that of the interaction {error.id}", detail=detail)


def _illegal(error: IllegalActionError) -> ApiError:
    return ApiError(400, str(error), detail={"field": "state", "state": error.state.value, "action": error.action.value})
