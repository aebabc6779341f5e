"""Says why a server could not be reached, in words that people understand."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

import aiohttp

NOTHING_LISTENS: Final = "nothing listens there"
NEXT_STEP: Final = "is a hub running there? Start one with `hub serve --demo`, or say where it is: --url, HUB_URL"
"""What to do when nothing listens."""


def why(error: BaseException) -> str:
    """The reason of an error. Those of aiohttp name the host and how TLS was set; the caller names the whole URL already."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        cause = error.os_error
        if isinstance(cause, socket.gaierror):
            return f"no such host: {cause.strerror or cause}"
        if cause.errno == errno.ECONNREFUSED:
            return f"{NOTHING_LISTENS}: {os.strerror(cause.errno)}"
        if cause.errno:
            return os.strerror(cause.errno)
    return str(error) or type(error).__name__
