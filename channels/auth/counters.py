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
    introspections_remembered: int = 0
    """Answers of introspection for which the database was not read."""
    sign_outs: int = 0
    """Tokens and sign-ins that their users ended."""
    families_dropped: int = 0
    """Families that ended because their tenant had too many."""
    device_codes: int = 0
    """Codes that devices were given."""
    device_codes_refused: int = 0
    """Codes that devices were not given, since too many were live: settings `auth.max_*_device_codes`."""
    devices_allowed: int = 0
    """Devices that their users have allowed."""
    devices_denied: int = 0
    """Devices that their users have denied."""
    user_codes_wrong: int = 0
    """Codes that signed-in users typed and that no device shows."""
    user_codes_refused: int = 0
    """Codes that were not looked at, since their user had typed too many wrong ones: setting `limits.sign_in_failures`."""
