"""What the Authentication API counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AuthCounters:
    """What the Authentication API counts; ``/metrics`` reads them."""

    sign_ins: int = 0
    """Sign-ins by name and password that succeeded."""
    sign_ins_failed: int = 0
    """Sign-ins with a wrong tenant, name or password."""
    codes: int = 0
    """Authorization codes that were given out."""
    tokens: int = 0
    """Answers of the token endpoint with tokens."""
    tokens_refused: int = 0
    """Answers of the token endpoint that refuse."""
    sign_outs: int = 0
    """Tokens and sign-ins that their users ended."""
    families_dropped: int = 0
    """Families that ended because their tenant had too many."""
