"""The errors of the family, and how REST answers them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from hub.http.errors import ApiError
from hub.objects.store import ObjectStoreError

if TYPE_CHECKING:
    from hub.http.error_table import ErrorTable

_log = structlog.get_logger(__name__)


class InvalidReason(StrEnum):
    """What is wrong with an announced file, in Amazon Connect's words."""

    SIZE = "INVALID_FILE_SIZE"
    TYPE = "INVALID_FILE_TYPE"
    NAME = "INVALID_FILE_NAME"


class QuotaReason(StrEnum):
    """Which quota is used up, in Amazon Connect's words."""

    SIZE = "TOTAL_FILE_SIZE_EXCEEDED"
    COUNT = "TOTAL_FILE_COUNT_EXCEEDED"


class FilesError(Exception):
    """A call about a file is refused; the text is for the caller."""


class InvalidFile(FilesError):
    """A field of an announced file is wrong. ``field`` is ``name``, ``size``, ``type``, ``tags`` or another; APIs call it by their own
    name. ``text`` says what was expected and what came.
    """

    def __init__(self, reason: InvalidReason | None, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.reason = reason
        self.field = field
        self.text = text


class QuotaExceeded(FilesError):
    """The resource, or the tenant, has as many files or bytes as it may."""

    def __init__(self, reason: QuotaReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class TokenReused(FilesError):
    """The token was used before for a file with other fields, or for one that was completed or deleted."""


class FileNotFound(FilesError):
    """There is no such file of this resource."""


class UnknownInstance(FilesError):
    """The caller's tenant is another one than that of the id of an instance."""


class NotUploaded(FilesError):
    """The file's bytes have not come."""


class BeingCompleted(FilesError):
    """The file is being completed by a call with another token."""


class NotApproved(FilesError):
    """The file may not be read: it is not approved."""


class UploadEnded(FilesError):
    """The file has failed: it was not completed in time, or its bytes are gone."""


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of this family are answered by the hub's own REST API."""
    errors.add(InvalidFile, 400)
    errors.add(QuotaExceeded, 402)
    errors.add(TokenReused, 409)
    errors.add(FileNotFound, lambda error: ApiError(404, str(error), detail={"field": "fileId"}))
    errors.add(UnknownInstance, lambda error: ApiError(404, str(error), detail={"field": "InstanceId"}))
    errors.add(NotUploaded, 400)
    errors.add(BeingCompleted, 409)
    errors.add(NotApproved, 409)
    errors.add(UploadEnded, 400)
    errors.add(ObjectStoreError, _unavailable)


def _unavailable(error: ObjectStoreError) -> ApiError:
    _log.error("object_store_unavailable", exc_info=error)
    return ApiError(503, "the store of files cannot be used now: try again", headers={"Retry-After": "1"})
