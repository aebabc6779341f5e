"""The host names under which clients may reach the hub, and the links that it makes from them (docs/security.md#host-and-origin)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.types import Scope

from hub.core.json_text import show
from hub.http.errors import ApiError
from hub.security.origin import from_own_page, header, is_secure

if TYPE_CHECKING:
    from hub.ops.settings import Settings
    from hub.security.gate import Gate

SETTING: Final = "allowed_hosts"


def split_host(host: str) -> tuple[str, int | None] | None:
    """Split a ``Host`` header into the name, in lower case, and the port; None if it is not valid (RFC 9110 section 7.2)."""
    try:
        parts = urlsplit(f"//{host.lower()}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname, port


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Hosts:
    """The host names of the hub: loopback, the host of ``public_url``, and ``allowed_hosts``."""

    __slots__ = ("_allowed", "_host", "_own_origins", "_public_url", "_tls", "knows", "port")

    def __init__(
        self,
        allowed: Collection[str] = (),
        public_url: str | None = None,
        listens_on: tuple[str, int] = ("127.0.0.1", 0),
        *,
        tls: bool = False,
    ) -> None:
        """``allowed`` has names, with or without a port; a name without a port is allowed with every port. ``tls``: the hub speaks it."""
        self._public_url = public_url
        self._tls = tls
        parts = urlsplit(public_url or "")
        self._own_origins = frozenset(() if public_url is None else (f"{parts.scheme}://{parts.netloc}".lower(),))
        """The origin of ``public_url``: behind a proxy the hub may be asked by another name."""
        self._host, self.port = listens_on
        """The port on which the hub listens. If the system chose the port, set it to that."""
        self.knows = lru_cache(maxsize=256)(self._knows)
        """Whether a ``Host`` header has a loopback name, or one that the settings allow."""
        found = [split_host(each) for each in allowed]
        if public_url is not None:
            found.append(split_host(urlsplit(public_url).netloc))
        self._allowed = frozenset(each for each in found if each is not None)

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        """The hosts that the settings name."""
        return cls(settings.allowed_hosts, settings.public_url, (settings.host, settings.port), tls=settings.tls.on)

    def _knows(self, host: str) -> bool:
        found = split_host(host)
        return found is not None and (_is_loopback(found[0]) or found in self._allowed or (found[0], None) in self._allowed)

    def base_url(self, scope: Scope) -> str:
        """The URL of the hub for links, without a slash at its end: ``public_url``, else made from the request's ``Host``.

        Raises:
            ApiError: 400; there is no ``public_url``, and ``Host`` is missing or a name that the hub does not know. Otherwise whoever sends
                the request could make the hub send links to a host of their choice.
        """
        if self._public_url is not None:
            return self._public_url
        host = header(scope, b"host")
        if host is None or not self.knows(host):
            raise _unknown(host, "a link cannot be made from this name: ")
        return f"{'https' if is_secure(scope) else 'http'}://{host}"

    def from_own_page(self, scope: Scope) -> bool:
        """Whether a request comes from a page of the hub itself, or from no browser; a page of an allowed origin is not the hub's."""
        return from_own_page(scope, self._own_origins)

    def own_url(self) -> str:
        """The base URL for links without a request, such as in a webhook: ``public_url``, else the address on which the hub listens, as
        programs on the same machine reach it.
        """
        if self._public_url is not None:
            return self._public_url
        return local_url(self._host, self.port, tls=self._tls)


def local_url(host: str, port: int, *, tls: bool = False) -> str:
    """The URL of a server that listens on an address, for programs on the same machine; ``tls``: it speaks TLS."""
    scheme = "https" if tls else "http"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{scheme}://{host}:{port}"
    if address.is_loopback or address.is_unspecified:
        return f"{scheme}://localhost:{port}"
    return f"{scheme}://[{host}]:{port}" if address.version == 6 else f"{scheme}://{host}:{port}"


def _unknown(host: str | None, why: str) -> ApiError:
    expected = f"a loopback name, or one of the setting {SETTING}, or of public_url"
    got = "nothing" if host is None else show(host)
    detail = {"field": "Host", "expected": expected, "got": got, "setting": SETTING}
    return ApiError(400, f"{why}Host: expected {expected}, got {got}", detail=detail)


class DemoGuard:
    """Refuses requests of other sites' pages to a hub whose credentials everybody knows (``--demo``).

    If an attacker's host name resolves to 127.0.0.1, the attacker's page has the origin of the hub (DNS rebinding); the ``Host`` header
    shows this. Any other page could use the known token over a WebSocket, which browsers open to every address, or by a script element;
    ``Origin`` shows this, or, if the browser sends none, ``Sec-Fetch-Site`` and ``Referer`` (Fetch Metadata). Clients that are no browsers
    do not send these headers.
    """

    __slots__ = ("_gate", "_hosts")

    def __init__(self, hosts: Hosts, gate: Gate) -> None:
        self._hosts = hosts
        self._gate = gate

    def refusal(self, scope: Scope) -> ApiError | None:
        """The reason why a request or WebSocket is refused; None if it is not."""
        host = header(scope, b"host")
        if host is not None and not self._hosts.knows(host):
            return _unknown(host, "this hub runs with --demo: ")
        if header(scope, b"origin") is not None:
            return None if self._gate.may_call(scope) else self._foreign(header(scope, b"origin"))
        if header(scope, b"sec-fetch-site") in {"cross-site", "same-site"} and header(scope, b"sec-fetch-mode") != "navigate":
            parts = urlsplit(header(scope, b"referer") or "")
            origin = f"{parts.scheme}://{parts.netloc}".lower()
            return None if self._gate.allows_origin(origin) else self._foreign(origin)
        return None

    def _foreign(self, origin: str | None) -> ApiError:
        expected = "a page of this hub, or one of the setting allowed_origins"
        got = show(origin)
        detail = {"field": "Origin", "expected": expected, "got": got, "setting": "allowed_origins"}
        return ApiError(403, f"this hub runs with --demo: Origin: expected {expected}, got {got}", detail=detail)
