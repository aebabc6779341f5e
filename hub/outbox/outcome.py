"""The outcome of one attempt, as the sender reports it."""

from enum import StrEnum
from typing import NamedTuple


class Failure(StrEnum):
    """Why there was no usable answer."""

    NONE = ""
    TIMEOUT = "timeout"
    """Not answered in time: connecting, sending, waiting, or reading."""
    CONNECT = "connect"
    """Refused, unreachable, no such name, reset, TLS."""
    FORBIDDEN = "forbidden"
    """The address is one that must not be called."""
    PROTOCOL = "protocol"
    """The answer is not HTTP."""


class Outcome(NamedTuple):
    """One attempt. Times in ms."""

    status: int
    """0 when there was no answer."""
    failure: Failure
    error: str
    """In words, for people; empty when there was an answer."""
    body: bytes
    """The beginning of the answer's body, as much of it as is kept."""
    retry_after_s: float | None
    """``Retry-After`` (RFC 9110 section 10.2.3), seconds or a date made into seconds; None when there is none that can be read."""
    at_ms: int
    duration_ms: int
