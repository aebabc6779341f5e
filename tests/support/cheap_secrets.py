"""Hashes of passwords, and keys, that cost little. By default a hash takes 64 MiB and 0.13 s of CPU, as it should, and an RSA key that
signs is made in 0.12 s.
"""

from __future__ import annotations

from typing import Final

from hub.security.passwords import PasswordHashes
from hub.security.settings import LEAST_MEMORY_KIB, LEAST_ROUNDS

QUICK: Final = PasswordHashes(memory_kib=64, rounds=1)
"""For parts in the process of the tests: far below what the settings allow."""

RSA_BITS: Final = 2048
"""The shortest RSA keys that the settings allow: a quarter of the CPU."""

LEAST: Final = {
    "HUB_AUTH__RSA_BITS": str(RSA_BITS),
    "HUB_PASSWORD_HASHES__MEMORY_KIB": str(LEAST_MEMORY_KIB),
    "HUB_PASSWORD_HASHES__ROUNDS": str(LEAST_ROUNDS),
}
"""For hubs, and for ``hub`` commands: the least that the settings allow. A hash costs a fifth of the default then."""


def cost_of(stored: str) -> str:
    """Kind, version and parameters of a hash: what decides how long a check takes."""
    return stored.rpartition("$")[0].rpartition("$")[0]
