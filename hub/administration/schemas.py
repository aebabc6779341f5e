"""Bodies and answers of administration, as /openapi.json has them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hub.http.schemas import Status
from hub.security.clients_store import MAX_URIS
from hub.security.passwords import MAX_LENGTH

MAX_ROLES: Final = 100
"""Roles that one body may name."""
MAX_GRANTS: Final = 100
MAX_PATTERNS: Final = 200
MAX_DAYS_MS: Final = 2**53

Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
RoleName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]
Roles = Annotated[list[RoleName], Field(max_length=MAX_ROLES)]
Text = Annotated[str, StringConstraints(strict=True, max_length=254)]
Password = Annotated[str, StringConstraints(strict=True, max_length=MAX_LENGTH)]
Uri = Annotated[str, StringConstraints(strict=True, max_length=2048)]
Uris = Annotated[list[Uri], Field(max_length=MAX_URIS)]
Pattern = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1024)]
Patterns = Annotated[list[Pattern], Field(max_length=MAX_PATTERNS)]
AccessSeconds = Annotated[int, Field(strict=True, ge=60, le=365 * 86_400)]
GrantName = Annotated[str, StringConstraints(strict=True, max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UserDetails(_Body):
    """What may be said of a user."""

    givenName: Text | None = Field(None, description="An empty text removes it.")
    familyName: Text | None = Field(None, description="An empty text removes it.")
    email: Text | None = Field(None, description="An empty text removes it.")
    disabled: bool | None = Field(None, strict=True, description="May not sign in; all that the user has open ends.")


class NewUser(UserDetails):
    """A user to add."""

    name: Name = Field(examples=["ana"])
    password: Password
    roles: Roles = Field(examples=[["supervisor"]])


class UserChange(UserDetails):
    """What to change of a user; what is left out stays."""

    password: Password | None = Field(None, description="Every sign-in and token of the user ends.")
    roles: Roles | None = None


class RoleGrant(_Body):
    """One grant of a role."""

    action: Literal["subscribe", "publish", "call"]
    within: Patterns = Field(min_length=1, description="Channels, patterns, or operations.", examples=[["/statistics/**"]])
    without: Patterns = Field([], description="What is excepted.")
    deny: bool = Field(False, strict=True, description="Denied, whatever else allows it.")


class RoleBody(_Body):
    """A role."""

    grants: list[RoleGrant] = Field(min_length=1, max_length=MAX_GRANTS)


class ClientFields(_Body):
    """What may be said of a client."""

    name: Name | None = Field(None, description="What users read on the sign-in page.")
    grants: list[GrantName] | None = Field(None, max_length=10, examples=[["authorization_code", "refresh_token"]])
    roles: Roles | None = Field(None, description="The most that its tokens may have. Without any, all roles of their users.")
    redirectUris: Uris | None = None
    postLogoutUris: Uris | None = None
    origins: Uris | None = None
    frameOrigins: Uris | None = None
    pkce: bool | None = Field(None, strict=True)
    consent: bool | None = Field(None, strict=True)
    accessSeconds: AccessSeconds | None = Field(None, description="For how long its access tokens are good.")


class NewClientBody(ClientFields):
    """A client to add."""

    id: Name = Field(examples=["wall"])
    public: bool = Field(False, strict=True, description="It can keep no secret.")


class NewKey(_Body):
    """An API key to add."""

    name: Name = Field(examples=["switch"])
    roles: Roles = Field(examples=[["producer"]])
    aws: bool = Field(False, strict=True, description="An access key, whose holder signs requests as clients of Amazon do.")


class NewToken(_Body):
    """A token to add."""

    subject: Name = Field(description="A user, or another name.", examples=["wallboard"])
    roles: Roles | None = Field(None, description="May be left out for a user, whose roles it has then.")
    expiresMs: int | None = Field(None, strict=True, ge=1, lt=MAX_DAYS_MS, description="When it ends, in ms since 1970 UTC; else never.")


class Entries(BaseModel):
    """A page of a list."""

    status: Status
    data: dict[str, Any] = Field(description="The entries, by their kind, and `cursor` if there is another page.")


class Entry(BaseModel):
    """One thing; with `secret` only where it was just made."""

    status: Status
    data: dict[str, Any]


ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    403: {"description": "The credential may not do this, or what it wants to give or change allows more than it may do itself."},
    404: {"description": "The tenant has no such thing."},
    409: {"description": "The name is taken, or the thing is still needed, or the tenant has too many."},
    429: {"description": "Too many changes of this tenant; `Retry-After` says when to try again."},
}
