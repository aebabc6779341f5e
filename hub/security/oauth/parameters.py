"""The parameters of a request, from a query or a form (RFC 6749 section 3.1, appendix B)."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from hub.security.oauth.errors import invalid_request

MAX_BYTES: Final = 8 * 1024
"""Bytes of all parameters of one request at most."""

MAX_PARAMETERS: Final = 64

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")

_SHOWN: Final = frozenset(f"{string.ascii_letters}{string.digits}_-./+")

FORM: Final = "application/x-www-form-urlencoded"


class Parameters(Mapping[str, str]):
    """One value for each name. A parameter without a value is as if it were not there."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def require(self, name: str) -> str:
        """The value of a parameter.

        Raises:
            OAuthError: ``invalid_request``, it is missing.
        """
        if name not in self._values:
            raise invalid_request(f"{name}: expected a value, got none")
        return self._values[name]

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """The value of a parameter that may be one of some words.

        Raises:
            OAuthError: ``invalid_request``, it is another one.
        """
        value = self._values.get(name, default)
        if value not in allowed:
            raise invalid_request(f"{name}: expected one of {', '.join(allowed)}")
        return value

    def number(self, name: str, most: int) -> int | None:
        """The value of a parameter that is a whole number from 0 to ``most``; None if it is missing.

        Raises:
            OAuthError: ``invalid_request``, it is something else.
        """
        value = self._values.get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(most)) and int(value) <= most):
            raise invalid_request(f"{name}: expected a whole number from 0 to {most}")
        return int(value)


def parse_parameters(raw: bytes, max_bytes: int = MAX_BYTES) -> Parameters:
    """The parameters of a query or of the body of a form.

    Raises:
        OAuthError: ``invalid_request``: they are too long or too many, one comes twice, or they are no UTF-8.
    """
    if len(raw) > max_bytes:
        raise invalid_request(f"parameters: expected at most {max_bytes} bytes, got {len(raw)}")
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise invalid_request("parameters: expected percent-encoded UTF-8") from None
    except ValueError:
        raise invalid_request(f"parameters: expected at most {MAX_PARAMETERS}") from None
    values: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen:
            raise invalid_request(f"{_shown(name)}: expected one value, got several")
        seen.add(name)
        if _CONTROLS.search(value) is not None:
            raise invalid_request(f"{_shown(name)}: expected no control characters")
        if value:
            values[name] = value
    return Parameters(values)


def check_form(content_type: str | None) -> None:
    """Check that a body is a form.

    Raises:
        OAuthError: ``invalid_request``, it is something else.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise invalid_request(f"Content-Type: expected {FORM}, got {_shown(kind) or 'none'}")


def _shown(text: str) -> str:
    """A text for an error's description, which may have neither quotes nor characters outside ASCII (RFC 6749 section 5.2)."""
    return "".join(character if character in _SHOWN else "?" for character in text[:40])
