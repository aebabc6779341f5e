"""Settings of TLS on the port for clients (section ``tls``)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

YEAR_S: Final = 365 * 86_400


class TlsSettings(BaseModel):
    """TLS by the hub itself, for a hub without a proxy in front (docs/deployment.md#tls-without-a-proxy)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cert: Path | None = Field(
        default=None, description="Certificate with the chain up to its authority (PEM). With it, the port for clients speaks TLS alone."
    )
    key: Path | None = Field(default=None, description="Key of `tls.cert` (PEM), if it is not in the same file.")
    hsts_s: int | None = Field(
        default=None,
        ge=0,
        le=10 * YEAR_S,
        description="Seconds for which browsers use this name by TLS alone (`Strict-Transport-Security`), in every answer. Empty: a year "
        "where the hub itself speaks TLS, else never. Behind a proxy that ends TLS, a number makes the hub say it. 0: never.",
    )

    @model_validator(mode="after")
    def _readable(self) -> TlsSettings:
        if self.cert is None:
            if self.key is not None:
                raise ValueError("expected tls.cert beside tls.key")
            return self
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key)
        except OSError as error:
            raise ValueError(f"expected a certificate and its key in PEM files that can be read: {error}") from None
        return self

    @property
    def on(self) -> bool:
        """Whether the hub itself speaks TLS."""
        return self.cert is not None

    @property
    def hsts_seconds(self) -> int:
        """The ``max-age`` of ``Strict-Transport-Security``; 0 if it is not sent."""
        if self.hsts_s is not None:
            return self.hsts_s
        return YEAR_S if self.on else 0
