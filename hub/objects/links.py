"""Signed links to files: they say who may put or get which file until when, and need no other credential (docs/protocol/files.md#links)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode

from hub.core.ports import Clock

PREFIX: Final = "/files/v1/"
"""The path of every link begins so; tenant and id follow."""

_CONTENT_TYPE: Final = re.compile(r"[!-~]{1,256}")
_NUMBER: Final = re.compile(r"0|[1-9]\d{0,15}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_NAMES: Final = ("p", "e", "s", "c", "d", "sig")
_MAX_QUERY: Final = 2_000
_MAX_PATH: Final = 1_600
"""An id may be a key of an object in base64: 1,024 bytes."""

E = TypeVar("E", bound=StrEnum)


class Purpose(StrEnum):
    """Whose file a link leads to. Each purpose has a key of its own."""

    FILE = "f"
    MEDIA_STORAGE = "x"


class Disposition(StrEnum):
    """Whether a browser shows a file or saves it (RFC 6266)."""

    INLINE = "inline"
    ATTACHMENT = "attachment"


class LinkError(Exception):
    """A link is none, or not good for this request. ``code`` is the one that S3 has for it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class FileLink:
    """What a link says. A download has a disposition. An upload has size and type, or neither where they are not known yet."""

    tenant: str
    id: str
    purpose: Purpose
    expires_ms: int
    """When it ends, in milliseconds since 1970 UTC."""
    size: int | None = None
    """Bytes."""
    content_type: str = ""
    """Printable ASCII without blanks."""
    disposition: Disposition | None = None

    @property
    def method(self) -> str:
        """The method that it is for; GET covers HEAD."""
        return "PUT" if self.disposition is None else "GET"

    def parameters(self) -> dict[str, str]:
        """Its parameters, by name, without the signature; those that it does not have are empty."""
        return {
            "p": self.purpose,
            "e": str(self.expires_ms),
            "s": "" if self.size is None else str(self.size),
            "c": self.content_type,
            "d": "" if self.disposition is None else self.disposition,
        }


class FileLinks:
    """Makes and reads the links of one hub."""

    __slots__ = ("_clock", "_keys")

    def __init__(self, secret: bytes, clock: Clock) -> None:
        """``secret`` is ``HUB_SECRET``: all nodes of a hub have the same."""
        self._keys = {each: hmac.digest(secret, f"files links v1 {each}".encode(), "sha256") for each in Purpose}
        self._clock = clock

    def make(self, base_url: str, link: FileLink) -> str:
        """The URL of a link. ``base_url``, without a slash at its end, is where clients find the hub.

        Raises:
            ValueError: the content type has blanks or characters that are not ASCII, or size, type and disposition do not fit together.
        """
        if link.content_type and _CONTENT_TYPE.fullmatch(link.content_type) is None:
            raise ValueError(f"content type: expected printable ASCII without blanks, got {link.content_type!r}")
        if (link.size is None) != (link.content_type == "") or (link.size is not None and link.disposition is not None):
            raise ValueError("link: expected size and type of an upload, or neither, or the disposition of a download")
        parameters = {name: value for name, value in link.parameters().items() if value}
        signed = urlencode({**parameters, "sig": self._sign(link)}, safe="")
        return f"{base_url}{PREFIX}{quote(link.tenant, safe='')}/{quote(link.id, safe='')}?{signed}"

    def read(self, method: str, path: str, query: str) -> FileLink:
        """Read the link by which a request came.

        Args:
            method: the request's method.
            path: the path as it stood in the request line, with its percent-encoding; it begins with :data:`PREFIX`.
            query: the query as it stood there.

        Raises:
            LinkError: the link is malformed, has expired, or was not made by this hub for this method.
        """
        tenant, slash, identifier = path.removeprefix(PREFIX).partition("/")
        if not slash or not tenant or not identifier or "/" in identifier or len(path) > _MAX_PATH or len(query) > _MAX_QUERY:
            raise LinkError("AccessDenied", f"expected {PREFIX}TENANT/ID and the parameters of a link")
        link, signature = _parse(unquote(tenant), unquote(identifier), query)
        good = hmac.compare_digest(self._sign(link), signature)
        wanted = "GET" if method == "HEAD" else method
        if not good or link.method != wanted:
            raise LinkError("SignatureDoesNotMatch", f"the link is not one of this hub for {wanted}: ask for a new one")
        if link.expires_ms <= self._clock.wall_ms():
            raise LinkError("AccessDenied", "the link has expired: ask for a new one")
        return link

    def _sign(self, link: FileLink) -> str:
        lines = [link.method, f"t={link.tenant}", f"i={link.id}", *(f"{name}={value}" for name, value in link.parameters().items())]
        return hmac.new(self._keys[link.purpose], "\n".join(lines).encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def _parse(tenant: str, identifier: str, query: str) -> tuple[FileLink, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found and name in _NAMES:
            raise LinkError("AccessDenied", f"{name}: expected it once in a link")
        found[name] = value
    # what is signed is put together line by line: no part may hold the end of one
    if any("\n" in each for each in (tenant, identifier, *(found.get(name, "") for name in _NAMES))):
        raise LinkError("AccessDenied", "expected a link without line ends")
    purpose = _choice(Purpose, found, "p")
    size = None if not found.get("s") else _number(found, "s")
    disposition = None if not found.get("d") else _choice(Disposition, found, "d")
    signature = found.get("sig", "")
    if _SIGNATURE.fullmatch(signature) is None:
        raise LinkError("AccessDenied", "sig: expected the 64 hexadecimal digits of a link")
    return FileLink(tenant, identifier, purpose, _number(found, "e"), size, found.get("c", ""), disposition), signature


def _number(found: Mapping[str, str], name: str) -> int:
    text = found.get(name, "")
    if _NUMBER.fullmatch(text) is None:
        raise LinkError("AccessDenied", f"{name}: expected a whole number in a link")
    return int(text)


def _choice(kinds: type[E], found: Mapping[str, str], name: str) -> E:
    try:
        return kinds(found.get(name, ""))
    except ValueError:
        raise LinkError("AccessDenied", f"{name}: expected one of {', '.join(kinds)} in a link") from None
