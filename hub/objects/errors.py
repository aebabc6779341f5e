"""How REST answers the errors of an object store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from hub.http.errors import ApiError
from hub.objects.store import StoreUnavailableError

if TYPE_CHECKING:
    from hub.http.error_table import ErrorTable

_log = structlog.get_logger(__name__)


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of stores are answered, whichever family meets them."""
    errors.add(StoreUnavailableError, _unavailable)


def _unavailable(error: StoreUnavailableError) -> ApiError:
    _log.error("object_store_failed", code=error.code, error=str(error))
    return ApiError(503, "files cannot be stored or read now: try again", headers={"Retry-After": "2"})
