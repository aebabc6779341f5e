"""Redirect URIs: which ones a client may register, and whether one that came in a request is registered (RFC 9700 section 2.1)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_URI: Final = 2048
"""Characters of a URI at most."""

_ALLOWED: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
"""The characters of a URI (RFC 3986 section 2). A backslash, a blank or a letter outside ASCII is none of them: browsers read these in ways
that differ from what a comparison of texts sees."""

_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""Host and port. RFC 3986 allows more in a host, such as ``;``, ``,`` and ``*``, which would end or widen the Content-Security-Policy that
names the origin of the URI.
"""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_NEVER: Final = frozenset({"javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "ws", "wss"})
"""Schemes that a browser does not leave the page with, or that run as a script in it."""


class RedirectError(ValueError):
    """A redirect URI cannot be registered; the text says what was expected and what came."""


def check_redirect_uri(uri: str, *, local: bool = False) -> str:
    """Check a redirect URI that is to be registered, and return it as it came.

    ``https`` is expected, or a scheme of an application's own with a dot in it (RFC 8252 section 7.1), or ``http`` on a loopback address
    (section 7.3). With ``local``, ``http://localhost`` is allowed too, as the demo has it.

    Raises:
        RedirectError: the URI is not of this form, or has a fragment, a user's name, or a path that leads upwards.
    """
    parts = _split(uri)
    if parts is None:
        raise RedirectError(f"redirect URI: expected an absolute URI of at most {MAX_URI} characters of RFC 3986, got {uri[:120]!r}")
    if "#" in uri:
        raise RedirectError(f"redirect URI: expected no fragment, got {uri[:120]!r}")
    if "@" in parts.netloc:
        raise RedirectError(f"redirect URI: expected no user name before the host, got {uri[:120]!r}")
    if any(segment in (".", "..") for segment in re.split(r"/", re.sub("%2e", ".", parts.path, flags=re.IGNORECASE))):
        raise RedirectError(f"redirect URI: expected a path without . and .., got {uri[:120]!r}")
    scheme, host = parts.scheme, parts.hostname or ""
    if scheme in ("http", "https") and not _AUTHORITY.fullmatch(parts.netloc):
        raise RedirectError(f"redirect URI: expected a host of letters, digits, hyphens and dots, and a port or none, got {uri[:120]!r}")
    if scheme == "https":
        return uri
    if scheme == "http":
        if host in _LOOPBACK or (local and host == "localhost"):
            return uri
        raise RedirectError(f"redirect URI: expected https, or http on 127.0.0.1 or [::1], got {uri[:120]!r}")
    if "." in scheme and scheme not in _NEVER:
        return uri
    raise RedirectError(
        "redirect URI: expected https with a host, http on a loopback address, or a scheme with a dot such as com.example.app, "
        f"got {uri[:120]!r}"
    )


def is_registered(uri: str, registered: tuple[str, ...]) -> bool:
    """Whether a URI is one of those that a client has registered: the same text, but for the port of a loopback address."""
    if len(uri) > MAX_URI:
        return False
    if uri in registered:
        return True
    asked = _without_loopback_port(uri)
    return asked is not None and any(_without_loopback_port(each) == asked for each in registered)


def origin_of(uri: str) -> str | None:
    """The origin of a redirect URI, for ``form-action``; None for an application's own scheme, which has none."""
    parts = _split(uri)
    if parts is None or parts.scheme not in ("http", "https"):
        return None
    return f"{parts.scheme}://{parts.netloc}"


def _split(uri: str) -> SplitResult | None:
    if not 0 < len(uri) <= MAX_URI or not _ALLOWED.fullmatch(uri):
        return None
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    scheme = uri.partition(":")[0]
    # the scheme as it stands: a browser would take HTTPS for https, and the comparison of texts would not
    if not _SCHEME.fullmatch(scheme) or parts.scheme != scheme or port == 0:
        return None
    return parts


def _without_loopback_port(uri: str) -> tuple[str, str, str] | None:
    """Host, path and query of a URI ``http://127.0.0.1`` or ``http://[::1]``, with any port or none (RFC 8252 section 7.3)."""
    parts = _split(uri)
    if parts is None or parts.scheme != "http" or "#" in uri or "@" in parts.netloc or parts.hostname not in _LOOPBACK:
        return None
    return parts.hostname or "", parts.path, parts.query
