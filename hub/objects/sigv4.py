"""Signature Version 4 of Amazon Web Services: checks the signatures of callers, signs requests, and makes links for a store
(docs/protocol/files.md#signature-version-4).

A signature covers a *canonical request*: method, path, query, chosen headers and the SHA-256 of the body, each in one spelling only. The
path of every service but S3 is normalised and percent-encoded once more; S3 takes it as it is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SKEW_S: Final = 900
"""Seconds by which the time of a request may differ from the hub's, in either direction: the bound that Amazon has."""

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""Takes the place of the body's hash in links, whose body nobody knows yet."""

MAX_AUTHORIZATION_BYTES: Final = 4096
MAX_SIGNED_HEADERS: Final = 64
_MAX_KEY_ID: Final = 128

_TIME: Final = "%Y%m%dT%H%M%SZ"
_TIME_FORM: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_BLANKS: Final = re.compile(r" {2,}")
_NOBODY: Final = "0" * 40
"""Checked in place of the secret of an unknown key, so that both take the same time."""

Headers = Sequence[tuple[bytes, bytes]]
"""Header lines as ASGI has them: names in lower case."""


class Refusal(StrEnum):
    """The type of an error, as clients of Amazon read it."""

    MISSING = "MissingAuthenticationTokenException"
    INCOMPLETE = "IncompleteSignatureException"
    UNKNOWN_KEY = "UnrecognizedClientException"
    WRONG = "InvalidSignatureException"


class SignatureError(Exception):
    """A request is not signed as it has to be. ``kind`` is for the client's code, the text for people."""

    def __init__(self, kind: Refusal, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Request(NamedTuple):
    """An HTTP request, as it is signed."""

    method: str
    path: str
    """The path as it stood in the request line, with its percent-encoding."""
    query: str
    """What followed the question mark, with its percent-encoding."""
    headers: Headers


class Credentials(NamedTuple):
    """What somebody signs with."""

    key_id: str
    secret: str
    session_token: str | None = None


class Target(NamedTuple):
    """For whom a signature is good."""

    region: str
    service: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a request says that it comes from, before its signature is checked."""

    key_id: str
    scope: str
    """Date, region, service and ``aws4_request``, with slashes between."""
    at: str
    """The time of the request: ``20261129T125005Z``."""
    signed_headers: tuple[str, ...]
    signature: str
    content_sha256: str | None
    """The hash of the body that the request declares; None: it declares none."""


def read_claim(request: Request, service: str, now_s: float) -> Claim:
    """Read who a request says that it comes from, so that an unknown or late caller is refused before the body is read.

    Args:
        request: the request, without its body.
        service: the service that the signature must be for, such as ``connect``. Any region is taken.
        now_s: the time of day, in seconds since 1970 UTC.

    Raises:
        SignatureError: the request is not signed in this way, is signed for something else, or its time differs by more than
            :data:`SKEW_S`.
    """
    values = [value for name, value in request.headers if name == b"authorization"]
    if not values:
        raise SignatureError(Refusal.MISSING, f"Authorization: expected a signature of {ALGORITHM}, got none; links are not taken here")
    if len(values) > 1 or len(values[0]) > MAX_AUTHORIZATION_BYTES:
        raise SignatureError(Refusal.INCOMPLETE, f"Authorization: expected one header of at most {MAX_AUTHORIZATION_BYTES} bytes")
    scheme, _, parameters = values[0].decode("latin-1").strip().partition(" ")
    if scheme != ALGORITHM:
        raise SignatureError(Refusal.MISSING, f"Authorization: expected the scheme {ALGORITHM}, got {scheme[:40]!r}")
    fields = _fields(parameters)
    key_id, _, scope = fields["Credential"].partition("/")
    if not key_id or len(key_id) > _MAX_KEY_ID:
        raise SignatureError(Refusal.INCOMPLETE, "Authorization: Credential: expected the id of an access key before the first slash")
    parts = scope.split("/")
    if len(parts) != 4 or parts[3] != "aws4_request" or not parts[1]:
        raise SignatureError(Refusal.INCOMPLETE, "Authorization: Credential: expected KEY/DATE/REGION/SERVICE/aws4_request")
    if parts[2] != service:
        raise SignatureError(Refusal.WRONG, f"Authorization: Credential: expected a scope for the service {service}, got {parts[2][:40]!r}")
    at = _one(request.headers, b"x-amz-date")
    if at is None or _TIME_FORM.fullmatch(at) is None:
        raise SignatureError(Refusal.INCOMPLETE, "X-Amz-Date: expected the time as 20261129T125005Z")
    _check_time(at, parts[0], now_s)
    names = tuple(fields["SignedHeaders"].split(";"))
    _check_names(names, request.headers)
    if _SIGNATURE.fullmatch(fields["Signature"]) is None:
        raise SignatureError(Refusal.INCOMPLETE, "Authorization: Signature: expected 64 hexadecimal digits")
    return Claim(key_id, scope, at, names, fields["Signature"], _one(request.headers, b"x-amz-content-sha256"))


def verify(
    claim: Claim, request: Request, secret: str | None, body_sha256: str, other_host: str | None = None, other_path: str = ""
) -> None:
    """Check the signature of a request. An unknown key takes as long as a wrong secret.

    Args:
        claim: what :func:`read_claim` has read from the request.
        request: the request.
        secret: that of the claim's key; None: the key is unknown.
        body_sha256: the hash of the body, in hexadecimal digits.
        other_host: the public host and port, tried in place of ``Host`` where a proxy may have rewritten that.
        other_path: the public path of the hub, without a slash at its end: tried in front of the path together with ``other_host``, where
            a proxy may have taken it away.

    Raises:
        SignatureError: the key is unknown, or the signature is not that of this request.
    """
    if claim.content_sha256 is not None and not hmac.compare_digest(claim.content_sha256.encode(), body_sha256.encode()):
        raise SignatureError(Refusal.WRONG, "X-Amz-Content-Sha256: expected the hash of the body that came")
    key = signing_key(_NOBODY if secret is None else secret, claim.scope)
    good = False
    for host, before in dict.fromkeys(((None, ""), (other_host, other_path))):
        path = normalised_path(before + request.path)
        lines = _header_lines(claim.signed_headers, request.headers, host)
        canonical = _canonical(request.method, path, canonical_query(request.query), lines, claim.signed_headers, body_sha256)
        good |= hmac.compare_digest(_signature(key, claim.at, claim.scope, canonical), claim.signature)
    if secret is None:
        raise SignatureError(Refusal.UNKNOWN_KEY, "the access key is unknown")
    if not good:
        raise SignatureError(Refusal.WRONG, "the signature is not that of this request: check the secret, and what changed on the way")


def sign(
    method: str, url: str, headers: Mapping[str, str], body_sha256: str, credentials: Credentials, target: Target, now_s: float
) -> dict[str, str]:
    """Sign a request. Returns the headers that are to be sent: ``headers`` and those of the signature.

    Args:
        method: the HTTP method.
        url: the whole URL, percent-encoded as it will be sent.
        headers: all headers that are to be covered, without ``Host``.
        body_sha256: the hash of the body, in hexadecimal digits, or :data:`UNSIGNED`.
        credentials: who signs.
        target: for which service, in which region. With S3 the hash is a header, too.
        now_s: the time of day, in seconds since 1970 UTC.
    """
    parts = urlsplit(url)
    at = _time(now_s)
    sent = {**headers, "X-Amz-Date": at}
    if target.service == "s3":
        sent["X-Amz-Content-Sha256"] = body_sha256
    if credentials.session_token is not None:
        sent["X-Amz-Security-Token"] = credentials.session_token
    lines = {name.lower(): _squeezed(value) for name, value in sent.items()} | {"host": parts.netloc}
    names = tuple(sorted(lines))
    path = (parts.path or "/") if target.service == "s3" else normalised_path(parts.path)
    scope = _scope(at, target)
    canonical = _canonical(method, path, canonical_query(parts.query), [(name, lines[name]) for name in names], names, body_sha256)
    signature = _signature(signing_key(credentials.secret, scope), at, scope, canonical)
    sent["Authorization"] = f"{ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return sent


def presign(method: str, url: str, headers: Mapping[str, str], lasts_s: int, credentials: Credentials, region: str, now_s: float) -> str:
    """A link to an object of S3 that is good for a time, and only for a request with exactly these headers.

    Args:
        method: the HTTP method.
        url: the URL of the object, percent-encoded; it may have a query.
        headers: what the request must have, without ``Host``: the type and length of an upload.
        lasts_s: seconds until the link ends, 1 to 604,800.
        credentials: who signs.
        region: the store's region.
        now_s: the time of day, in seconds since 1970 UTC.
    """
    parts = urlsplit(url)
    at = _time(now_s)
    scope = _scope(at, Target(region, "s3"))
    lines = {name.lower(): _squeezed(value) for name, value in headers.items()} | {"host": parts.netloc}
    names = tuple(sorted(lines))
    added = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.key_id}/{scope}",
        "X-Amz-Date": at,
        "X-Amz-Expires": str(lasts_s),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    if credentials.session_token is not None:
        added["X-Amz-Security-Token"] = credentials.session_token
    wanted = "&".join(f"{name}={quote(value, safe='')}" for name, value in added.items())
    query = canonical_query(f"{parts.query}&{wanted}" if parts.query else wanted)
    canonical = _canonical(method, parts.path or "/", query, [(name, lines[name]) for name in names], names, UNSIGNED)
    signature = _signature(signing_key(credentials.secret, scope), at, scope, canonical)
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{query}&X-Amz-Signature={signature}"


@lru_cache(maxsize=1024)
def signing_key(secret: str, scope: str) -> bytes:
    """The key that signs for one day, region and service; ``scope`` as in :class:`Claim`. Those that were used last are remembered: each is
    four hashes, of which each may have to wait for other threads.
    """
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def normalised_path(path: str) -> str:
    """The canonical path of a service other than S3: without dot and empty segments, and percent-encoded once more. A path that ends in a
    slash keeps it.
    """
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return quote(f"/{'/'.join(kept)}{end}", safe="/~")


def canonical_query(query: str) -> str:
    """The parameters of a query, decoded, encoded in one way, and sorted. A plus sign stands for itself."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_recoded(name), _recoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _recoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="~")


def _fields(parameters: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in parameters.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name in fields:
            raise SignatureError(Refusal.INCOMPLETE, "Authorization: expected Credential=..., SignedHeaders=..., Signature=..., each once")
        fields[name] = value
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if not fields.get(name)]
    if missing:
        raise SignatureError(Refusal.INCOMPLETE, f"Authorization: expected {', '.join(missing)}, got none")
    return fields


def _check_time(at: str, date: str, now_s: float) -> None:
    try:
        # by the form that was checked: strptime takes ten times as long
        day = datetime(int(at[:4]), int(at[4:6]), int(at[6:8]), int(at[9:11]), int(at[11:13]), int(at[13:15]), tzinfo=UTC)
        moment = day.timestamp()
    except ValueError:
        raise SignatureError(Refusal.INCOMPLETE, f"X-Amz-Date: expected a time, got {at!r}") from None
    if at[:8] != date:
        raise SignatureError(Refusal.WRONG, "Authorization: Credential: expected the date of X-Amz-Date")
    if abs(now_s - moment) > SKEW_S:
        raise SignatureError(
            Refusal.WRONG, f"Signature expired: X-Amz-Date: expected a time within {SKEW_S} s of {_time(now_s)}, got {at}: check the clock"
        )


def _check_names(names: tuple[str, ...], headers: Headers) -> None:
    """Check that the signature covers what it must: ``host``, and each ``x-amz-*`` header of the request."""
    if len(names) > MAX_SIGNED_HEADERS or list(names) != sorted(set(names)) or any(name != name.lower() or not name for name in names):
        raise SignatureError(Refusal.INCOMPLETE, "Authorization: SignedHeaders: expected names in lower case, sorted, each once")
    if "host" not in names:
        raise SignatureError(Refusal.WRONG, "Authorization: SignedHeaders: expected host among them")
    signed = set(names)
    for name, _ in headers:
        if name.startswith(b"x-amz-") and name.decode("latin-1") not in signed:
            raise SignatureError(Refusal.WRONG, f"Authorization: SignedHeaders: expected {name.decode('latin-1')} among them")


def _one(headers: Headers, wanted: bytes) -> str | None:
    """The value of a header that a request may have once.

    Raises:
        SignatureError: it is there twice.
    """
    values = [value for name, value in headers if name == wanted]
    if len(values) > 1:
        raise SignatureError(Refusal.INCOMPLETE, f"{wanted.decode()}: expected it once, got it {len(values)} times")
    return values[0].decode("latin-1").strip() if values else None


def _header_lines(names: Iterable[str], headers: Headers, host: str | None) -> list[tuple[str, str]]:
    lines = []
    for name in names:
        if name == "host" and host is not None:
            lines.append((name, host))
            continue
        encoded = name.encode("latin-1", "replace")
        # a header may be UTF-8 by the client's mind; what it has signed are those bytes
        lines.append((name, ",".join(_squeezed(value.decode("utf-8", "surrogateescape")) for each, value in headers if each == encoded)))
    return lines


def _squeezed(value: str) -> str:
    return _BLANKS.sub(" ", value.strip())


def _canonical(method: str, path: str, query: str, lines: Iterable[tuple[str, str]], names: Iterable[str], body_sha256: str) -> bytes:
    headers = "".join(f"{name}:{value}\n" for name, value in lines)
    return f"{method}\n{path}\n{query}\n{headers}\n{';'.join(names)}\n{body_sha256}".encode("utf-8", "surrogateescape")


def _signature(key: bytes, at: str, scope: str, canonical: bytes) -> str:
    text = f"{ALGORITHM}\n{at}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _scope(at: str, target: Target) -> str:
    return f"{at[:8]}/{target.region}/{target.service}/aws4_request"


def _time(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime(_TIME)
