"""The errors of the family, and how REST answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.http.errors import ApiError

if TYPE_CHECKING:
    from hub.http.error_table import ErrorTable


class UnknownMailError(LookupError):
    """The contact centre has no secure e-mail of this id, which is the text of the error."""


class UnknownAttachmentError(LookupError):
    """The secure e-mail ``mail`` has no attachment of this number."""

    def __init__(self, mail: str, number: int) -> None:
        super().__init__(f"{mail}/{number}")
        self.mail = mail
        self.number = number


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of this family are answered."""
    errors.add(UnknownMailError, _unknown_mail)
    errors.add(UnknownAttachmentError, _unknown_attachment)


def _unknown_mail(error: UnknownMailError) -> ApiError:
    return ApiError.of_field("secureMailId", "a secure e-mail of this contact centre", str(error), http_status=404)


def _unknown_attachment(error: UnknownAttachmentError) -> ApiError:
    return ApiError.of_field("number", f"an attachment of the secure e-mail {error.mail}", error.number, http_status=404)
