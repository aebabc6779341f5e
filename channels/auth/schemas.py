"""Bodies and answers of ``/auth/v3``, for validation and for ``/openapi.json``."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hub.http.openapi import SECURITY_SCHEMES
from hub.http.schemas import Status
from hub.security.oauth.models import GRANTS
from hub.security.passwords import MAX_LENGTH

_Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_LENGTH)]


class ChangePasswordOperation(BaseModel):
    """The passwords, and the user where no token names one."""

    new_password: _Text = Field(alias="newPassword")
    old_password: _Text = Field(alias="oldPassword")
    user_name: _Text | None = Field(default=None, alias="userName", description=r"`tenant\user`; needed without a token.")


class ChangePassword(BaseModel):
    """The body of `/change-password`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": {"newPassword": "correct horse", "oldPassword": "battery staple"}}]})

    data: ChangePasswordOperation
    operation_id: _Text | None = Field(default=None, alias="operationId")


class ApiResponse(BaseModel):
    """The envelope."""

    status: Status
    data: dict[str, Any] | None = None


class Authority(BaseModel):
    """A role, and what it allows."""

    name: str
    privileges: list[str]


class CloudUserDetails(BaseModel):
    """A user. What is not known is left out."""

    authorities: list[Authority]
    cmeUserName: str | None = Field(default=None, description="Not for clients by themselves.")
    contactCenterId: str = Field(description="The tenant.")
    dbid: int | None = None
    environmentId: str
    loginName: str | None = None
    properties: dict[str, str]
    username: str = Field(description="Unique in the whole hub, also over time.")


class TokenAnswer(BaseModel):
    """Tokens (RFC 6749 section 5.1)."""

    access_token: str
    token_type: str = Field(description="Always `bearer`.")
    expires_in: int = Field(description="Seconds that are left; the token may end earlier.")
    refresh_token: str | None = None
    scope: str
    id_token: str | None = Field(default=None, description="With the scope `openid`.")


class DeviceAnswer(BaseModel):
    """The codes of a device (RFC 8628 section 3.2)."""

    device_code: str = Field(description="What the device asks for its tokens with.")
    user_code: str = Field(description="What the device shows, such as `BCDF-GHJK`.")
    verification_uri: str = Field(description="The page where the user types the code.")
    verification_uri_complete: str = Field(description="The same page with the code filled in, for a QR code.")
    expires_in: int
    interval: int = Field(description="Seconds to wait between two questions.")


class OAuthRefusal(BaseModel):
    """A refusal (RFC 6749 section 5.2)."""

    error: str
    error_description: str


TOKEN_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": [str(each) for each in GRANTS]},
        "client_id": {"type": "string", "description": "Without `Authorization: Basic`."},
        "client_secret": {"type": "string", "description": "Without `Authorization: Basic`, of a client that has one."},
        "code": {"type": "string"},
        "redirect_uri": {"type": "string", "description": "As in the authorization request."},
        "code_verifier": {"type": "string", "description": "RFC 7636."},
        "refresh_token": {"type": "string"},
        "scope": {"type": "string", "description": "Scopes with blanks between them; `*`: all that the roles allow."},
        "username": {"type": "string", "description": r"`tenant\user`, or a user of the client's tenant."},
        "password": {"type": "string"},
        "device_code": {"type": "string", "description": "RFC 8628."},
    },
}
DEVICE_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "client_id": {"type": "string", "description": "Without `Authorization: Basic`."},
        "client_secret": {"type": "string", "description": "Without `Authorization: Basic`, of a client that has one."},
        "scope": {"type": "string", "description": "Scopes with blanks between them; `*`: all that the roles allow."},
    },
}
ONE_TOKEN_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["token"],
    "properties": {
        "token": {"type": "string", "description": "An access or refresh token."},
        "token_type_hint": {"type": "string"},
        "client_id": {"type": "string"},
        "client_secret": {"type": "string"},
    },
}


def form(schema: dict[str, Any]) -> dict[str, Any]:
    """``openapi_extra`` for an operation that reads a form by itself; its client is known by HTTP Basic or by the form."""
    basic = {"type": "http", "scheme": "basic", "description": "Id and secret of a client; or both in the form."}
    return {
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}},
        "security": [{"client": []}, {}],
        SECURITY_SCHEMES: {"client": basic},
    }


BY_TOKEN: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
"""``openapi_extra`` for an operation that takes a token alone."""
BY_TOKEN_OR_COOKIE: Final[dict[str, Any]] = {"security": [{"bearer": []}, {"cookie": []}]}
BY_TOKEN_OR_PASSWORD: Final[dict[str, Any]] = {"security": [{"bearer": []}, {}]}
