"""Settings of the family ``auth`` (section ``auth`` of the settings file, ``HUB_AUTH__*``)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AuthSettings(BaseModel):
    """Signing users in: tokens, the sign-in page, and how often they may be asked for (docs/authentication.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment_id: str = Field("hub", min_length=1, max_length=64, description="The `environmentId` of `/auth/v3/userinfo`.")
    refresh_leeway_s: float = Field(
        0,
        ge=0,
        le=60,
        description="A refresh token that comes a second time within these seconds is refused, but does not end its family: for a client "
        "that asks twice at once, as one in two tabs does, and keeps the tokens that the first answer had.",
    )
    token_requests_per_s: int = Field(
        20, ge=0, description="Requests of one client to the token endpoint in a second, of a public one from each address; 0: no limit."
    )
    tenant_token_requests_per_s: int = Field(100, ge=0, description="The same of all clients with a secret of one tenant.")
    max_families: int = Field(
        100_000,
        ge=1,
        description="Families of tokens that a tenant may have; of more, those of the client with most of them end that were not refreshed "
        "for the longest time.",
    )
    pages_per_s: int = Field(10, ge=0, description="Sign-in pages and sign-ins of one address in a second; 0: no limit.")
    request_s: int = Field(600, ge=60, le=3600, description="Seconds for which a sign-in page can be submitted.")
    remember_days: int = Field(30, ge=1, le=30, description="Days for which a browser stays signed in if its user wishes so.")
