"""The headers of a delivery: its id, and signatures that a receiver can check (docs/protocol/webhooks.md#headers,
docs/protocol/webhooks.md#signatures).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a program that only checks signatures must not load the database modules
    from hub.outbox.models import OutboxEvent, Secret

PREFIX: Final = "whsec_"
"""The prefix of secrets in the form of Standard Webhooks; base64 of the key follows."""

SECRET_BYTES: Final = 32

STANDARD_BYTES: Final = range(24, 65)
"""The number of bytes that the base64 of a ``whsec_`` secret may encode (Standard Webhooks 1.0.0, "Signature scheme")."""

ROTATE: Final = "rotate it: hub endpoint rotate ID, hub channel rotate ID"
"""What to do about a secret that is not fit for Standard Webhooks."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""A header's name (RFC 9110 section 5.6.2)."""

_VALUE: Final = re.compile(r"[\x20-\x7e\x80-\xff]{0,1000}")
"""A header's value (RFC 9110 section 5.5), without tabs."""

RESERVED: Final = frozenset(
    {
        # of the connection, not of the message (RFC 9110 section 7.6.1)
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
        # what the request is made of
        "host", "content-length", "content-type", "content-encoding", "expect", "cookie", "user-agent",
        # the hub's own
        "webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature", "x-hub-signature-256", "x-hub-attempt",
        "x-hub-sequence", "x-b3-traceid",
    }
)  # fmt: skip
"""Headers that an endpoint may not add, in lower case."""


def new_secret() -> str:
    """Generate a secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def secret_problem(secret: str) -> str:
    """Why libraries of Standard Webhooks would not accept a secret that begins with ``whsec_``; empty if they accept it. They decode the
    rest in slightly different ways: only base64 with its padding and without stray bits means the same to all of them. Also empty for a
    secret without this prefix: its own bytes are the key.
    """
    if not secret.startswith(PREFIX):
        return ""
    text = secret[len(PREFIX) :]
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        return "what is no base64"
    if base64.b64encode(decoded).decode() != text:
        return "base64 that encodes its bytes otherwise than usual"
    return "" if len(decoded) in STANDARD_BYTES else f"base64 of {len(decoded)} bytes"


def unfit_secrets(secrets: Iterable[Secret], now_ms: int) -> bool:
    """Whether libraries of Standard Webhooks refuse one of the secrets that sign now. Hubs before version 0.2 took such secrets."""
    return any(secret_problem(each.text) for each in secrets if each.until_ms is None or each.until_ms > now_ms)


def check_headers(headers: Mapping[str, str]) -> None:
    """Check the headers that an endpoint adds to each attempt.

    Raises:
        ValueError: ``headers: expected ..., got ...``.
    """
    seen: set[str] = set()
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"headers: expected names of letters, digits and hyphens, got {name!r}")
        if name.lower() in RESERVED or name.lower().startswith(("proxy-", "sec-")):
            raise ValueError(f"headers: expected none that the hub or the connection sets, got {name!r}")
        if name.lower() in seen:
            raise ValueError(f"headers: expected each name once, got {name!r} twice")
        if not _VALUE.fullmatch(value) or value != value.strip():
            raise ValueError(f"headers: expected values of at most 1000 characters without line breaks, got {value!r} for {name!r}")
        seen.add(name.lower())


def message_id(event: OutboxEvent) -> str:
    """``webhook-id``: the same at every attempt, so that a receiver recognises repeats."""
    return f"msg_{event.operation_id}"


def headers(event: OutboxEvent, present: Sequence[Secret], attempt: int, now_s: int) -> dict[str, str]:
    """The hub's own headers of one attempt. ``present`` are the secrets that are valid now, the newest first: ``webhook-signature`` has a
    signature with each of them, ``X-Hub-Signature`` and ``X-Hub-Signature-256`` only one with the newest.
    """
    identifier = message_id(event)
    made = {
        "webhook-id": identifier,
        "webhook-timestamp": str(now_s),
        "X-Hub-Attempt": str(attempt),
        "X-Hub-Sequence": str(event.id),
        "X-B3-TraceId": event.trace_id,
    }
    if present:
        signed = b"%b.%d.%b" % (identifier.encode(), now_s, event.body)
        made["webhook-signature"] = " ".join(f"v1,{_base64_of(each.text, signed)}" for each in present)
        made["X-Hub-Signature"] = f"sha1={hub_signature(present[0].text, event.body, 'sha1')}"
        made["X-Hub-Signature-256"] = f"sha256={hub_signature(present[0].text, event.body, 'sha256')}"
    return made


def hub_signature(secret: str, body: bytes, algorithm: str) -> str:
    """Lower-case hex of the HMAC of a body, keyed with the secret's own bytes (``X-Hub-Signature``)."""
    keyed = hub_hasher(secret, algorithm)
    keyed.update(body)
    return keyed.hexdigest()


def hub_hasher(secret: str, algorithm: str) -> hmac.HMAC:
    """An HMAC for a body that comes in pieces. Its ``hexdigest`` is the part of ``X-Hub-Signature`` after ``sha1=`` or ``sha256=``."""
    return _keyed(secret.encode(), algorithm).copy()


def verify(secret: str, body: bytes, signature: str) -> bool:
    """Whether ``sha1=...`` or ``sha256=...`` is the signature of a body. The comparison takes the same time for right and wrong ones.

    False for a text of another form.
    """
    algorithm, _, given = signature.strip().partition("=")
    if algorithm not in {"sha1", "sha256"} or not given.isascii():
        return False
    return hmac.compare_digest(hub_signature(secret, body, algorithm), given.lower())


def verify_standard(secret: str, body: bytes, identifier: str, timestamp: str, signatures: str) -> bool:
    """Whether one of the entries of ``webhook-signature`` is the signature of a body."""
    if not timestamp.isascii() or not timestamp.isdecimal() or not signatures.isascii():
        return False
    expected = _base64_of(secret, f"{identifier}.{timestamp}.".encode() + body)
    given = [entry.partition(",") for entry in signatures.split()]
    return any(version == "v1" and hmac.compare_digest(expected, value) for version, _, value in given)


def _base64_of(secret: str, signed: bytes) -> str:
    keyed = _keyed(_standard_key(secret), "sha256").copy()
    keyed.update(signed)
    return base64.b64encode(keyed.digest()).decode()


@lru_cache(maxsize=4096)
def _standard_key(secret: str) -> bytes:
    """The key for Standard Webhooks: the decoded bytes of a ``whsec_`` secret, else the bytes of the text itself."""
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret[len(PREFIX) :], validate=True)
        except binascii.Error:
            pass  # not base64: use the text itself
    return secret.encode()


@lru_cache(maxsize=4096)
def _keyed(key: bytes, algorithm: str) -> hmac.HMAC:
    """An HMAC with its key and without data. To copy it saves two rounds of hashing for each signature."""
    return hmac.new(key, digestmod=hashlib.sha1 if algorithm == "sha1" else hashlib.sha256)
