"""Callers who sign their requests with an access key, as clients of Amazon do (docs/protocol/credentials.md#signed-requests).

Who calls is read, and the key looked up, before the body is: an unknown or late caller cannot make the hub read anything. Only when the
whole body has come is it known whether the signature is good. Until then nobody is let in: a :class:`Claimed` has no principal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.http.method import asked_method
from hub.objects import sigv4
from hub.security.access_keys import AccessKeySecrets, is_access_key_id
from hub.security.credentials import Credential
from hub.security.directory import Directory

_SCHEME: Final = sigv4.ALGORITHM.lower().encode("ascii")


def is_signed(scope: Scope) -> bool:
    """Whether a request has an ``Authorization`` that is a signature, good or not. One of several is enough: then the request is refused,
    and no other credential of it counts.
    """
    return any(name == b"authorization" and value.lstrip()[: len(_SCHEME)].lower() == _SCHEME for name, value in scope["headers"])


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who has signed a request, if the signature is good."""

    claim: sigv4.Claim
    request: sigv4.Request
    credential: Credential


class SignedRequests:
    """Checks signed requests."""

    __slots__ = ("_clock", "_directory", "_public_host", "_public_path", "secrets")

    def __init__(self, directory: Directory, secrets: AccessKeySecrets, clock: Clock, public_url: str | None = None) -> None:
        """``directory`` finds access keys, ``secrets`` derives their secrets. ``public_url`` is the setting: clients may have signed its
        host, and its path in front of theirs, where a proxy rewrites ``Host`` and takes the path away.
        """
        self._directory = directory
        self._clock = clock
        parts = urlsplit(public_url or "")
        self._public_host = parts.netloc or None
        self._public_path = parts.path
        self.secrets = secrets
        """Derives the secrets of access keys."""

    async def claimed(self, scope: Scope, service: str) -> Claimed:
        """Read who has signed a request, without its body.

        Args:
            scope: the ASGI scope of the request.
            service: the service that the signature must be for, as Amazon calls it.

        Raises:
            SignatureError: the request is not signed as it has to be, or by a key that is unknown.
            LookupUnavailableError: the key cannot be looked up now.
        """
        request = sigv4.Request(
            asked_method(scope), scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1"), scope["headers"]
        )
        claim = sigv4.read_claim(request, service, self._clock.wall_ms() / 1000)
        known = await self._directory.by_access_key(claim.key_id) if is_access_key_id(claim.key_id) else None
        if known is None:
            raise sigv4.SignatureError(sigv4.Refusal.UNKNOWN_KEY, "the access key is unknown")
        return Claimed(claim, request, known)

    def verified(self, claimed: Claimed, body_sha256: str) -> Principal:
        """The caller, whose signature is good.

        Args:
            claimed: who has signed the request.
            body_sha256: the hash of the whole body, in hexadecimal digits.

        Raises:
            SignatureError: the signature is not that of this request, or the key has ended since the claim was read.
        """
        credential = claimed.credential
        secret = self.secrets.of(claimed.claim.key_id, credential.generation)
        sigv4.verify(claimed.claim, claimed.request, secret, body_sha256, self._public_host, self._public_path)
        principal = credential.principal()
        if not self._directory.still_good(principal):  # it was removed or rotated while the body came
            raise sigv4.SignatureError(sigv4.Refusal.UNKNOWN_KEY, "the access key was removed, or has another secret now")
        return principal
