"""Checks that a request with a cookie comes from a page that may use it (RFC 6454): browsers send the cookie with requests of any page."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from hub.http.headers import first_headers
from hub.security.cookies import SIGN_IN_COOKIE, read_cookies

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name (given in lower case); None when there is none."""
    value = first_headers(scope).get(name)
    return None if value is None else value.decode("latin-1")


def client_address(scope: Scope) -> str:
    """The address of the client, as far as the server knows; empty if it does not. For limits by address, which trusted proxies are exempt
    from, see :func:`hub.http.body.address_of`.
    """
    client = scope.get("client")
    return "" if client is None else str(client[0])


def is_secure(scope: Scope) -> bool:
    """Whether the request came by TLS, as far as the server knows."""
    return scope.get("scheme") in {"https", "wss"}


def from_own_page(scope: Scope, allowed: Collection[str] = ()) -> bool:
    """Whether the request comes from a page of this hub, of an ``allowed`` origin (lower case, no slash at its end), or from no browser.

    Host and port are compared; a missing port is the default one of the scheme. The scheme is not compared, because behind a proxy that
    terminates TLS the hub does not know its own. Without an ``Origin``, a request with an unsafe method is refused if the browser marks it
    as cross-site (Fetch Metadata).
    """
    origin = header(scope, b"origin")
    if origin is None:
        site = header(scope, b"sec-fetch-site")
        return site in {None, "same-origin", "none"} or scope.get("method", "GET") in _SAFE_METHODS
    origin = origin.lower()
    if origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    host = header(scope, b"host")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or host is None:
        return False
    default = _DEFAULT_PORTS[parts.scheme]
    try:
        own = urlsplit(f"//{host.lower()}")
        own_port = own.port
    except ValueError:
        return False
    return (parts.hostname, port or default) == (own.hostname, own_port or default)


def foreign_origin(scope: Scope) -> str | None:
    """The ``Origin`` of a request, in lower case, if it is another origin than the hub's; else None. It is also None for the opaque origin
    ``null`` (RFC 6454 section 6.1), which pages of many sites share.
    """
    origin = header(scope, b"origin")
    return None if origin is None or "://" not in origin or from_own_page(scope) else origin.lower()


def may_be_link(scope: Scope) -> bool:
    """Whether a browser may have followed a link or a redirect of another site, with which it sends the sign-in cookie (``SameSite=Lax``).
    Such a request must change nothing.

    Only what a browser sends with requests of the hub's own pages and of what its user typed counts as proof: many browsers send no Fetch
    Metadata to a host without TLS. An ``Origin`` is looked at where the caller is identified.
    """
    if any(header(scope, name) is not None for name in (b"authorization", b"x-api-key", b"origin")):
        return False
    site = header(scope, b"sec-fetch-site")
    if site is None:
        return bool(read_cookies(scope["headers"], SIGN_IN_COOKIE))
    return site not in {"same-origin", "none"}
