"""Parses the address of a hub (``--url``, ``HUB_URL``), for every command, and finds the HTTP proxy through which it is reached.

The proxy comes from the environment variables that other programs read, too: ``http_proxy``, ``https_proxy``, ``all_proxy`` and
``no_proxy``, in lower or upper case, as the manual page of curl(1) describes them.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Final

from yarl import URL

BAYEUX_PATH: Final = "/cometd"
PROXY_CREDENTIALS: Final = "the HTTP proxy asks for credentials: http://USER:PASSWORD@HOST in HTTP_PROXY or HTTPS_PROXY"
_PORTS: Final = {"http": 80, "https": 443}


def base_url(text: str) -> URL:
    """Parse the address of a hub: scheme, host, port, and, behind a reverse proxy, the path of the hub there. ``/cometd`` at the end, the
    path of the Bayeux endpoint, is removed.

    Raises:
        ValueError: the text is not the address of a hub.
    """
    url = checked_url(text)
    if url.query_string or url.fragment:
        raise ValueError(f"url: expected an address without ? and #, got {text!r}")
    return url.with_path(url.path.rstrip("/").removesuffix(BAYEUX_PATH).rstrip("/") or "/")


def checked_url(text: str) -> URL:
    """Parse an HTTP or HTTPS address.

    Raises:
        ValueError: the text is no such address.
    """
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in _PORTS or not url.host:
        raise ValueError(f"url: expected http://HOST[:PORT] or https://HOST, got {text!r}")
    return url


def proxy_of(url: URL, environment: Mapping[str, str] = os.environ) -> URL | None:
    """The URL of the HTTP proxy through which an address is reached, with the proxy's user name and password; None without a proxy.

    Raises:
        ValueError: the variable's value is not the address of an HTTP proxy. The text names the variable, and shows no password.
    """
    for name in (f"{url.scheme}_proxy", "all_proxy"):
        variable, value = _variable(name, environment)
        if not value:
            continue
        if _is_excepted(url, _variable("no_proxy", environment)[1]):
            return None
        try:
            proxy = URL(value if "://" in value else f"http://{value}")
        except ValueError:
            proxy = URL()
        if proxy.scheme not in _PORTS or not proxy.host:
            shown = value.rpartition("@")[2]
            raise ValueError(f"{variable}: expected http://HOST[:PORT], the address of an HTTP proxy, got {shown!r}")
        return proxy
    return None


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The name under which a variable is set, and its value. Lower case comes first."""
    for spelt in (name, name.upper()):
        if spelt == "HTTP_PROXY" and "REQUEST_METHOD" in environment:  # in a CGI program a caller's header "Proxy:" sets it
            continue
        if value := environment.get(spelt, "").strip():
            return spelt, value
    return name, ""


def _is_excepted(url: URL, no_proxy: str) -> bool:
    """Whether ``no_proxy`` names a host: by its name or a parent domain, by its address or a network, or by ``*``."""
    host = (url.host or "").rstrip(".").lower()
    return any(_names(entry.strip().lower(), host, url.port) for entry in no_proxy.replace(" ", ",").split(","))


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    if entry.count(":") == 1 or entry.startswith("["):
        name, colon, wanted = entry.rpartition(":")
        if colon and wanted.isdigit():
            if int(wanted) != port:
                return False
            entry = name
    entry = entry.strip("[]").removeprefix("*").strip(".")
    if not entry:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == entry or host.endswith(f".{entry}")
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
