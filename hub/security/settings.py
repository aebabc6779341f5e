"""Settings of password hashes (section ``password_hashes``)."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

LEAST_MEMORY_KIB: Final = 19 * 1024
LEAST_ROUNDS: Final = 2
"""19 MiB with 2 rounds in one lane are the least that OWASP's Password Storage Cheat Sheet, under "Argon2id", takes for safe."""

MOST_MEMORY_KIB: Final = 2 * 1024 * 1024
"""2 GiB: what RFC 9106 section 4 recommends first, for any application."""

MOST_ROUNDS: Final = 64


class PasswordHashSettings(BaseModel):
    """What a hash of a password costs: whoever steals the database pays it for each guess, and the hub for each sign-in with a password
    (docs/authentication.md#what-a-password-costs). A change concerns the passwords that are set from then on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_kib: int = Field(
        default=64 * 1024,
        ge=LEAST_MEMORY_KIB,
        le=MOST_MEMORY_KIB,
        description="KiB of memory that argon2 needs for a hash; a process makes or checks two at a time. At least 19456 with 2 rounds, "
        "as OWASP says; the default is what RFC 9106 section 4 recommends where memory is scarce. It holds for passwords that are set from "
        "now on: each hash is checked with the memory and the rounds with which it was made.",
    )
    rounds: int = Field(
        default=3,
        ge=LEAST_ROUNDS,
        le=MOST_ROUNDS,
        description="How often argon2 goes through that memory, at least 2. The time of a hash grows with `memory_kib` times this.",
    )
