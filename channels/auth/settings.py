"""Settings of the family ``auth`` (section ``auth`` of the settings file, ``HUB_AUTH__*``)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator

from hub.security.issuers.settings import MAX_ISSUERS, IssuerSettings


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
        20,
        ge=0,
        description="Requests of one client to the token endpoint in a second, of a public one from each address (IPv6: /64); 0: no limit.",
    )
    tenant_token_requests_per_s: int = Field(100, ge=0, description="The same of all clients with a secret of one tenant.")
    max_families: int = Field(
        100_000,
        ge=1,
        description="Families of tokens that a tenant may have; of more, those of the client with most of them end that were not refreshed "
        "for the longest time.",
    )
    max_family_access_tokens: int = Field(
        8,
        ge=1,
        le=100,
        description="Access tokens of one family that are good at a time; when it is refreshed, older ones end, and what they opened.",
    )
    max_family_used_tokens: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Used refresh tokens of one family that are known; one that comes again ends the family. An older one is refused, and "
        "ends nothing.",
    )
    max_user_codes: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Authorization codes of one user and client that are kept, used ones too; of more the oldest are removed.",
    )
    max_stale_s: float = Field(
        300,
        ge=0,
        le=86_400,
        description="Seconds for which callers that a node knows go on while the database does not answer it. Then they get 503, and their "
        "live sessions end, since nobody knows whether they were signed out. 0: without end.",
    )
    pages_per_s: int = Field(10, ge=0, description="Sign-in pages and sign-ins of one address (IPv6: of its /64) in a second; 0: no limit.")
    request_s: int = Field(600, ge=60, le=3600, description="Seconds for which a sign-in page can be submitted.")
    remember_days: int = Field(30, ge=1, le=30, description="Days for which a browser stays signed in if its user wishes so.")
    rsa_bits: int = Field(
        3072,
        ge=2048,
        le=4096,
        multiple_of=8,
        description="Bits of the RSA keys that sign ID tokens: of those that are made from now on, every 90 days. RFC 7518 section 3.3 "
        "asks for at least 2048; NIST SP 800-57 takes 3072 for as strong as AES of 128 bits.",
    )
    issuers: tuple[IssuerSettings, ...] = Field(
        (), max_length=MAX_ISSUERS, description="External issuers whose tokens are taken: docs/authentication.md#external-issuers."
    )
    issuer_networks: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Networks that are not public and from which keys of issuers may be fetched all the same, such as 10.1.0.0/16."
    )
    max_external_tokens: int = Field(
        50_000, ge=1, description="Tokens of external issuers that are live at a time for one tenant; for more the hub answers 503."
    )
    max_introspected: int = Field(
        10_000,
        ge=0,
        description="Tokens, with the clients that asked about them, for which introspection reads no database until something ends. "
        "Of more, those are forgotten about which nobody asked for the longest time, and are read again. 0: none.",
    )
    device_code_s: int = Field(600, ge=60, le=1800, description="Seconds for which the code that a device shows can be typed in.")
    device_poll_s: int = Field(5, ge=1, le=60, description="Seconds that a device waits between two questions for its tokens.")
    max_tenant_device_codes: int = Field(10_000, ge=1, description="Codes of devices of a tenant that are live at a time.")
    max_client_device_codes: int = Field(5_000, ge=1, description="The same of one client.")
    max_address_device_codes: int = Field(100, ge=1, description="The same of one client, asked for from one address (IPv6: /64).")

    @model_validator(mode="after")
    def _unique_issuers(self) -> AuthSettings:
        for field in ("name", "issuer"):
            values = [getattr(each, field) for each in self.issuers]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"issuers: expected another {field} for each, got {twice!r} twice")
        return self
