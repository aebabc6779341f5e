"""How REST answers what administration refuses."""

from __future__ import annotations

import re
from typing import Final

from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.security.delegation import BeyondError, TooManyError
from hub.security.models import AdminError, BuiltInError, ExistsError, InUseError, NotThereError, UnknownRoleError
from hub.security.roles import RoleError

_FIELDS: Final = {
    "client": "id",
    "e-mail": "email",
    "expires": "expiresMs",
    "family name": "familyName",
    "frame origin": "frameOrigins",
    "given name": "givenName",
    "key": "name",
    "origin": "origins",
    "redirect URI": "redirectUris",
    "role": "name",
    "user": "name",
}
"""The fields of bodies and paths whose names are others than those in the texts of errors, which the command line shows too."""

_TEXT: Final = re.compile(r"expected (?P<expected>.+?), got (?P<got>.+)", re.DOTALL)


def register_errors(table: ErrorTable) -> None:
    """Add the answers. Names that a text lists are the caller's own tenant's."""
    table.add(AdminError, of_field)
    table.add(UnknownRoleError, lambda error: of_field(error, "roles"))
    table.add(RoleError, 400)
    table.add(BeyondError, 403)
    table.add(NotThereError, lambda error: about_field(error, 404))
    for kind in (ExistsError, BuiltInError, InUseError, TooManyError):
        table.add(kind, lambda error: about_field(error, 409))


def about_field(error: AdminError, status: int) -> ApiError:
    """The answer about what is not there, or is in the way, with the name of the field that names it as the body or path has it."""
    named, separator, _ = str(error).partition(": ")
    return ApiError(status, str(error), detail={"field": _FIELDS.get(named, named)} if separator else None)


def of_field(error: AdminError, field: str | None = None) -> ApiError:
    """The answer 400 about a field, by its name in the body; ``field`` where the text has the name of something else."""
    named, separator, text = str(error).partition(": ")
    if not separator:
        return ApiError(400, str(error))
    name = field or _FIELDS.get(named, named)
    found = _TEXT.fullmatch(text)
    parts = found.groupdict() if found is not None else {}
    return ApiError(400, f"{name}: {text}", detail={"field": name, **parts})
