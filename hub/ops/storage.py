"""What a REST caller hears of when the database cannot be used."""

from __future__ import annotations

import structlog

from hub.ops.envelope import ApiError
from hub.storage.transactions import StorageError

_log = structlog.get_logger(__name__)


def unavailable(fault: StorageError) -> ApiError:
    """503; the reason goes to the log, where the operator finds it."""
    _log.error("database_unavailable", exc_info=fault)
    return ApiError(503, "the database cannot be used now, and nothing was changed: try again", headers={"Retry-After": "1"})
