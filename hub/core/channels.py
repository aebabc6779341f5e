"""Channel names and patterns: the grammar, what a name is matched by, and when one pattern lies within another.

The grammar (docs/protocol/bayeux.md#channel-names) is a superset of Bayeux 1.0 section 2.2: a segment is one or more of
``A-Z a-z 0-9 - _ ! ~ ( ) $ @ + . # = : %``, a wildcard (``*`` one level, ``**`` every level below) is a last segment only.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from hub.core.limits import MAX_CHANNEL_LENGTH, MAX_CHANNEL_SEGMENTS

_SEGMENTS = re.compile(r"(?:/[A-Za-z0-9\-_!~()$@+.#=:%]+)+")
_SAFE_IN_SEGMENT = "-_!~()$@+.#=:"

META = "/meta/"
SERVICE = "/service/"


class InvalidChannelError(ValueError):
    """A channel name or pattern that the grammar refuses; the text says what was expected and what came."""


@lru_cache(maxsize=65536)
def check_channel(name: str) -> str:
    """Return ``name`` when it is a channel that can be published to.

    Raises:
        InvalidChannelError: it is too long, too deep, ill-formed, or a wildcard.
    """
    if len(name) > MAX_CHANNEL_LENGTH:
        raise InvalidChannelError(f"a channel has at most {MAX_CHANNEL_LENGTH} characters, this one has {len(name)}")
    if not _SEGMENTS.fullmatch(name):
        raise InvalidChannelError("a channel is /segment/segment..., each of letters, digits and - _ ! ~ ( ) $ @ + . # = : %")
    if name.count("/") > MAX_CHANNEL_SEGMENTS:
        raise InvalidChannelError(f"a channel has at most {MAX_CHANNEL_SEGMENTS} segments, this one has {name.count('/')}")
    return name


@lru_cache(maxsize=16384)
def check_pattern(name: str) -> str:
    """Return ``name`` when it can be subscribed to: a channel, or a channel whose last segment is ``*`` or ``**``.

    Raises:
        InvalidChannelError: neither.
    """
    base = _wildcard_base(name)
    if base is None:
        return check_channel(name)
    if len(name) > MAX_CHANNEL_LENGTH:
        raise InvalidChannelError(f"a channel has at most {MAX_CHANNEL_LENGTH} characters, this one has {len(name)}")
    if base and name.count("/") > MAX_CHANNEL_SEGMENTS:
        raise InvalidChannelError(f"a channel has at most {MAX_CHANNEL_SEGMENTS} segments, this one has {name.count('/')}")
    if base:
        check_channel(base)
    return name


def _wildcard_base(pattern: str) -> str | None:
    """``/a/**`` and ``/a/*`` give ``/a``, ``/**`` gives an empty text, anything else None."""
    if pattern.endswith("/**"):
        return pattern[:-3]
    if pattern.endswith("/*"):
        return pattern[:-2]
    return None


def is_wildcard(pattern: str) -> bool:
    """Whether a checked pattern stands for more than one channel."""
    return pattern.endswith("*")


@lru_cache(maxsize=16384)
def candidates(channel: str) -> tuple[str, ...]:
    """Every pattern that matches ``channel``, the exact name first: for ``/a/b/c``
    ``/a/b/c``, ``/a/b/*``, ``/a/b/**``, ``/a/**``, ``/**``. Their number depends on the depth of the name alone.
    """
    found = [channel]
    parent = channel.rpartition("/")[0]
    found.append(f"{parent}/*")
    while True:
        found.append(f"{parent}/**")
        if not parent:
            return tuple(found)
        parent = parent.rpartition("/")[0]


def matches(pattern: str, channel: str) -> bool:
    """Whether ``channel`` (no wildcard) is one that ``pattern`` stands for."""
    return pattern in candidates(channel)


@lru_cache(maxsize=16384)
def lies_within(pattern: str, grant: str) -> bool:
    """Whether every channel that ``pattern`` stands for is one that ``grant`` stands for.

    This is what makes a wildcard subscription safe to check once: it is allowed only where nothing outside the grant can match.
    """
    if pattern == grant:
        return True
    base = _wildcard_base(grant)
    if base is None:
        return False
    if grant.endswith("/**"):
        return pattern.startswith(f"{base}/")
    return not is_wildcard(pattern) and matches(grant, pattern)


def overlaps(left: str, right: str) -> bool:
    """Whether some channel could match both patterns."""
    if not is_wildcard(left):
        return matches(right, left) if is_wildcard(right) else left == right
    if not is_wildcard(right):
        return matches(left, right)
    left_base, right_base = _wildcard_base(left) or "", _wildcard_base(right) or ""
    if left.endswith("/**") and right.endswith("/**"):
        return f"{left_base}/".startswith(f"{right_base}/") or f"{right_base}/".startswith(f"{left_base}/")
    if left.endswith("/**"):
        return f"{right_base}/".startswith(f"{left_base}/")
    if right.endswith("/**"):
        return f"{left_base}/".startswith(f"{right_base}/")
    return left_base == right_base


def to_segment(identifier: str) -> str:
    """Percent-encode an id so that it can be one segment of a channel name (docs/protocol/bayeux.md#channel-names): ``a/b`` gives
    ``a%2Fb``.
    """
    return quote(identifier, safe=_SAFE_IN_SEGMENT, errors="surrogatepass")


def from_segment(segment: str) -> str:
    """The id that :func:`to_segment` encoded."""
    return unquote(segment)


SERVER_ROOTS: Final = ("/statistics", "/nexus", "/hub", "/meta")
"""On these channels and below them only the server publishes; not even an administrator may, so that clients can trust them."""
