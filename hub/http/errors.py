"""The answer to a REST call that is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.http.envelope import failure


class ApiError(Exception):
    """A REST request that is refused.

    ``http_status`` is the status of the response. ``code`` is ``status.code`` of the body: the HTTP status, unless an API has its own
    codes. ``detail`` is an object with more data, usually ``field``, ``expected`` and ``got``. ``errors`` are the failures of a bulk
    request, each ``{"status": {...}}``. ``headers`` are additional response headers.
    """

    def __init__(
        self,
        http_status: int,
        message: str,
        *,
        code: int | str | None = None,
        detail: dict[str, Any] | None = None,
        errors: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.message = message
        self.code = http_status if code is None else code
        self.detail = detail
        self.errors = errors
        self.headers = headers

    @classmethod
    def of_field(cls, field: str, expected: str, got: object, *, http_status: int = 400) -> ApiError:
        """A field of the request is wrong: the message names it, what was expected, and the value that came (cut to 120 characters)."""
        return cls.in_words(field, expected, show(got), http_status=http_status)

    @classmethod
    def in_words(cls, field: str, expected: str, got: str, *, http_status: int = 400, headers: Mapping[str, str] | None = None) -> ApiError:
        """As :meth:`of_field`, with ``got`` as text for the message."""
        detail = {"field": field, "expected": expected, "got": got}
        return cls(http_status, f"{field}: expected {expected}, got {got}", detail=detail, headers=headers)

    @classmethod
    def of_error(cls, error: FieldError, *, within: str = "", http_status: int = 400) -> ApiError:
        """The answer to a :class:`FieldError`; ``within`` is put in front of the field's name, such as ``data.``."""
        return cls.in_words(f"{within}{error.field}", error.expected, error.got, http_status=http_status)

    def body(self) -> dict[str, Any]:
        """The envelope of this error."""
        return failure(self.code, self.message, self.detail, errors=self.errors)
