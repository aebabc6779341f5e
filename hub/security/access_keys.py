"""Access keys: an id, and a secret by which its holder signs requests (docs/security.md#access-keys).

A signature can be checked only by who knows the secret itself, of which a hash is not enough. So that no secret lies in the database, each
is derived from the hub's own secret, the key's id and the number of its generation. Another hub secret ends all access keys at once.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from functools import lru_cache
from typing import Final

from hub.security import demo

PREFIX: Final = "AKIAHUB"
"""Begins each id. Amazon's own begin with AKIA, too, and have 20 characters: programs that look for leaked keys find these as well."""

_CHARACTERS: Final = 13
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
"""Base32 (RFC 4648 section 6)."""

_ID: Final = re.compile(rf"{PREFIX}[{_ALPHABET}]{{{_CHARACTERS}}}")
_PURPOSE: Final = b"connect access keys v1"
_REMEMBERED: Final = 1024
"""Secrets in memory: to hash one anew for each request would have the request wait for other threads."""

_SECRET_BYTES: Final = 30
"""Of the derived 32: they are 40 characters, as long as Amazon's."""


def new_access_key_id() -> str:
    """The id of a new access key: 65 random bits, so that none comes twice. It is no secret."""
    return PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_CHARACTERS))


def is_access_key_id(text: str) -> bool:
    """Whether a text can be the id of an access key; others need not be looked up."""
    return _ID.fullmatch(text) is not None or text == demo.ACCESS_KEY


class AccessKeySecrets:
    """Derives the secrets of access keys."""

    __slots__ = ("_key", "of")

    def __init__(self, hub_secret: bytes) -> None:
        """``hub_secret``: see :func:`hub.security.secret.signing_secret`."""
        self._key = hmac.digest(hub_secret, _PURPOSE, "sha256")
        self.of = lru_cache(maxsize=_REMEMBERED)(self._derive)
        """The secret of an access key, by its id and generation: 40 characters. The generation rises when the key is rotated."""

    def _derive(self, key_id: str, generation: int) -> str:
        if key_id == demo.ACCESS_KEY:  # no derived key has this id
            return demo.ACCESS_SECRET
        derived = hmac.digest(self._key, f"{key_id}\n{generation}".encode(), "sha256")
        return base64.b64encode(derived[:_SECRET_BYTES]).decode("ascii")
