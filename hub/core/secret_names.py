"""Which names are those of secrets: their values are neither logged nor shown in errors."""

from __future__ import annotations

import re
from typing import Any, Final

HIDDEN: Final = "[hidden]"

_NAMES: Final = re.compile(r"(?i)(^|_)(token|secret|password|passwd|authorization|cookie|api_?key|ticket|credential)s?$")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_USER: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)


def names_secret(name: object) -> bool:
    """Whether a value of this name is a secret, such as ``password``, ``x-api-key`` or ``newPassword``."""
    return isinstance(name, str) and _NAMES.search(_HUMP.sub("_", name).replace("-", "_")) is not None


def without_secrets(value: Any) -> Any:
    """A value of JSON with :data:`HIDDEN` in the place of what has the name of a secret, at any depth."""
    if isinstance(value, dict):
        return {key: HIDDEN if names_secret(key) and inner else without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return value


def url_without_secrets(url: str) -> str:
    """A URL with :data:`HIDDEN` in the place of user and password, the values of a query, and the fragment, where keys stand. A text that
    is no URL may be one with a mistake: everything before an ``@`` is hidden.
    """
    before, hash_mark, _ = url.partition("#")
    place, mark, query = before.partition("?")
    shown = "&".join(f"{name}={HIDDEN}" if equals else HIDDEN for name, equals, _ in (each.partition("=") for each in query.split("&")))
    return _USER.sub(rf"\1{HIDDEN}@", place) + (f"?{shown}" if mark else "") + (f"#{HIDDEN}" if hash_mark else "")
