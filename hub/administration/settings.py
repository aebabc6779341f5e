"""Settings of administration by REST (section ``administration``)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AdministrationSettings(BaseModel):
    """What administrators may add and change by REST (docs/administration.md). The command line has no such limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_users: int = Field(default=10_000, ge=1, le=1_000_000, description="Users that a tenant may have.")
    max_clients: int = Field(default=1_000, ge=1, le=100_000, description="OAuth clients that a tenant may have.")
    max_origins: int = Field(default=1_000, ge=1, le=100_000, description="Origins that the OAuth clients of a tenant may have together.")
    max_api_keys: int = Field(default=1_000, ge=1, le=100_000, description="API keys that a tenant may have.")
    max_access_keys: int = Field(default=1_000, ge=1, le=100_000, description="Access keys that a tenant may have.")
    max_tokens: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Tokens of administrators that a tenant may have; those of OAuth do not count."
    )
    max_roles: int = Field(default=500, ge=1, le=10_000, description="Roles of its own that a tenant may have.")
    changes_per_s: int = Field(default=10, ge=0, description="Changes by REST of one tenant in a second; 0: no limit.")

    def most(self) -> dict[str, int]:
        """How many a tenant may have, by table; ``origins``: those of all clients together."""
        return {
            "users": self.max_users,
            "clients": self.max_clients,
            "origins": self.max_origins,
            "api_keys": self.max_api_keys,
            "access_keys": self.max_access_keys,
            "tokens": self.max_tokens,
            "roles": self.max_roles,
        }
