"""Hashes of passwords that cost little. By default one takes 64 MiB and 0.13 s of CPU, as it should."""

from __future__ import annotations

from typing import Final

from hub.security.passwords import PasswordHashes
from hub.security.settings import LEAST_MEMORY_KIB, LEAST_ROUNDS

QUICK: Final = PasswordHashes(memory_kib=64, rounds=1)
"""For parts in the process of the tests: far below what the settings allow."""

LEAST: Final = {"HUB_PASSWORD_HASHES__MEMORY_KIB": str(LEAST_MEMORY_KIB), "HUB_PASSWORD_HASHES__ROUNDS": str(LEAST_ROUNDS)}
"""For hubs, and for ``hub`` commands: the least that the settings allow, a fifth of the default."""


def cost_of(stored: str) -> str:
    """Kind, version and parameters of a hash: what decides how long a check takes."""
    return stored.rpartition("$")[0].rpartition("$")[0]
