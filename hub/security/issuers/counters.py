"""What is counted of tokens of external issuers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily
from hub.security.issuers.refusals import Reason


@dataclass(slots=True)
class IssuerCounters:
    """What is counted of tokens of external issuers; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "refused",
            "Tokens of external issuers that were refused, by the reason.",
            "reason",
            {f"refused_{reason}": str(reason) for reason in Reason},
        ),
    )

    fetches: int = 0
    """Times that the keys of an issuer were fetched."""
    fetches_failed: int = 0
    """Fetches of keys that failed; the last good ones serve for a day."""
    taken: int = 0
    """Tokens that were checked and are good; later requests with them are answered from memory."""
    too_many: int = 0
    """Tokens that were not taken, since their tenant has too many (`auth.max_external_tokens`)."""
    refused_malformed: int = 0
    """Tokens that are none, or that carry what no access token has."""
    refused_issuer: int = 0
    """Tokens of an issuer that is not in the settings."""
    refused_algorithm: int = 0
    """Tokens signed in a way that the issuer may not use."""
    refused_key: int = 0
    """Tokens that name a key which the issuer does not have."""
    refused_signature: int = 0
    """Tokens with a wrong signature."""
    refused_expired: int = 0
    """Tokens that have expired, are not good yet, or are good for more than a day."""
    refused_audience: int = 0
    """Tokens for another service."""
    refused_subject: int = 0
    """Tokens whose subject cannot be one here."""
    refused_tenant: int = 0
    """Tokens whose claim leads to no tenant."""
    refused_blocked: int = 0
    """Tokens that were blocked."""

    def refused(self, reason: Reason) -> None:
        """Count a token that was refused."""
        name = f"refused_{reason}"
        setattr(self, name, getattr(self, name) + 1)
