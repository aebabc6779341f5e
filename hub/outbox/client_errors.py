"""Says what went wrong with a request of the hub to somebody else, for people who must not learn all of it.

The texts of the HTTP client have the whole URL, with a key in its query, bytes of the answer, and addresses in the hub's network. Those who
read ours may be of a tenant, while the URL stands in the operator's settings.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import Final

import aiohttp

from hub.outbox.guard import ForbiddenAddressError
from hub.outbox.outcome import Failure

MAX_ERROR_LENGTH: Final = 500

_SOCKET_ADDRESS: Final = re.compile(r" ?\('[0-9A-Fa-f:.%\w]+', [0-9]+[0-9, ]*\)")
"""The address of a socket as Python writes it: ``('10.0.0.5', 80)``; for IPv6 also with flow and scope."""

_WORDS: Final = re.compile(r"[^:\n(<]*")
"""The beginning of a text of aiohttp's parser; behind it stand bytes of the answer."""


def described(raised: BaseException) -> tuple[Failure, str]:
    """The kind of a failure, and its text, of at most :data:`MAX_ERROR_LENGTH` characters: without the URL, bytes of the answer and the
    addresses of names.
    """
    cause = raised
    while cause is not None:
        if isinstance(cause, ForbiddenAddressError):
            return Failure.FORBIDDEN, str(cause)
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
            continue
        following = getattr(cause, "os_error", None) or cause.__cause__ or cause.__context__
        if following is None or following is cause:
            break
        cause = following
    text = _text(raised)[:MAX_ERROR_LENGTH]
    if isinstance(raised, aiohttp.ClientConnectorError | aiohttp.ServerDisconnectedError | OSError | ssl.SSLError):
        return Failure.CONNECT, text
    return Failure.PROTOCOL, f"no proper HTTP answer: {text}"


def _text(raised: BaseException) -> str:
    if isinstance(raised, aiohttp.ClientConnectorError) and not isinstance(
        raised, aiohttp.ClientConnectorDNSError | aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError
    ):
        cause = raised.os_error
        reason = os.strerror(cause.errno) if cause.errno is not None and cause.errno > 0 else "no address of it could be reached"
        return f"cannot connect to {raised.host}:{raised.port}: {reason}"
    if isinstance(raised, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return "the URL cannot be requested"
    if isinstance(raised, aiohttp.ClientResponseError):
        return _words(raised.message) or type(raised).__name__
    if isinstance(raised, aiohttp.ClientPayloadError):
        return _words(str(raised)) or type(raised).__name__
    return _SOCKET_ADDRESS.sub("", str(raised)).strip() or type(raised).__name__


def _words(text: str) -> str:
    found = _WORDS.match(text)
    return "" if found is None else found[0].strip()
