"""The settings of one external issuer: an entry of ``auth.issuers``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from hub.security.models import AdminError, is_tenant_name

MAX_ISSUERS: Final = 64

Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
"""What an issuer may sign with. ``none`` and the HMACs are not among them: with a public key as its secret, anybody can make an HMAC."""

ClaimText = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def _list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[ClaimText, ...], BeforeValidator(_list)]


class IssuerSettings(BaseModel):
    """An external issuer, and what its tokens are worth here (docs/authentication.md#external-issuers)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="A short name, for subjects, metrics and logs: letters, digits and hyphens.")
    http: bool = Field(False, description="Fetch its keys over plain HTTP too: for an issuer on the hub's own network.")
    issuer: str = Field(max_length=512, description="The claim `iss`, to the letter.")
    jwks_url: str | None = Field(None, max_length=2048, description="Where its keys are; by default its discovery document says so.")
    audience: Names = Field(description="What the claim `aud` has to name: the hub, as the issuer knows it. One of several is enough.")
    algorithms: tuple[Algorithm, ...] = Field(("RS256",), min_length=1, description="The signatures that are taken.")
    tenant: str | None = Field(None, description="The tenant of all its tokens.")
    tenant_claim: ClaimText | None = Field(None, description="The claim that says the tenant, in place of `tenant`.")
    tenants: dict[ClaimText, str] = Field(
        default_factory=dict, description="The tenant for each value of `tenant_claim`; a token with another value is refused."
    )
    subject_claim: ClaimText = Field("sub", description="The claim that names the user or program.")
    subject_prefix: str | None = Field(
        None,
        max_length=64,
        description="What stands before the subject; by default `ext:`, the name and a colon. Empty: the issuer speaks for the users of "
        "the tenant, and its `ana` is the hub's user `ana`.",
    )
    roles_claim: ClaimText | None = Field(None, description="The claim with the roles or groups; dots lead into objects.")
    roles: dict[ClaimText, Names] = Field(default_factory=dict, description="The hub's roles for each value of `roles_claim`.")
    default_roles: Names = Field((), description="Roles that each of its tokens has.")
    leeway_s: int = Field(30, ge=0, le=300, description="Seconds by which its clock and the hub's may differ.")

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("expected 1-32 small letters, digits and hyphens")
        return name

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _address(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return url
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError("expected a URL") from None
        schemes = ("https", "http") if info.data.get("http") else ("https",)
        if parts.scheme not in schemes or not parts.hostname or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"expected a URL that begins with {' or '.join(f'{each}://' for each in schemes)}, without user and fragment")
        return url

    @field_validator("audience")
    @classmethod
    def _some(cls, audience: tuple[str, ...]) -> tuple[str, ...]:
        if not audience:
            raise ValueError("expected at least one, since a token for any other service would be good here")
        return audience

    @field_validator("tenant", "tenants")
    @classmethod
    def _named(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for tenant in value.values() if isinstance(value, dict) else [value]:
            if tenant is not None and not is_tenant_name(tenant):
                raise ValueError("expected the name of a tenant")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> IssuerSettings:
        if (self.tenant is None) == (self.tenant_claim is None):
            raise ValueError("tenant: expected either tenant, or tenant_claim with tenants")
        if self.tenant_claim is not None and not self.tenants:
            raise ValueError("tenants: expected the tenant for at least one value of tenant_claim, got none")
        if self.roles and self.roles_claim is None:
            raise ValueError("roles_claim: expected the claim whose values `roles` maps, got none")
        if not self.roles and not self.default_roles:
            raise ValueError("roles: expected roles_claim with roles, or default_roles; without roles its tokens may do nothing")
        return self

    @property
    def prefix(self) -> str:
        """What stands before its subjects."""
        return f"ext:{self.name}:" if self.subject_prefix is None else self.subject_prefix

    @property
    def fingerprint(self) -> str:
        """Changes with the settings: a token that was taken under others has to be looked at again."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]

    @property
    def known_tenants(self) -> frozenset[str]:
        """The tenants for which it may speak."""
        return frozenset(self.tenants.values() if self.tenant is None else (self.tenant,))

    @property
    def known_roles(self) -> frozenset[str]:
        """The roles that it may give."""
        return frozenset(role for roles in (*self.roles.values(), self.default_roles) for role in roles)


def check_subject(text: str, issuers: Sequence[IssuerSettings]) -> None:
    """Check that a text that looks like the subject of an external issuer is one of an issuer that the settings have. Any other text may
    be a ``jti``, or a subject of an issuer with a prefix of its own.

    Raises:
        AdminError: no issuer has this prefix; the error names those that there are.
    """
    if text.startswith("ext:") and not any(each.prefix and text.startswith(each.prefix) for each in issuers):
        there = f"there are: {', '.join(f'{each.prefix}NAME' for each in issuers)}" if issuers else "there is none"
        raise AdminError(f"JTI|SUBJECT: expected the subject of an issuer in auth.issuers, got {text!r}; {there}")
