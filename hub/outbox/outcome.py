"""The outcome of one attempt, as the sender reports it."""

from enum import StrEnum
from typing import NamedTuple


class Failure(StrEnum):
    """Why there was no usable answer."""

    NONE = ""
    TIMEOUT = "timeout"
    """The request was not answered in time, from connecting to reading the answer."""
    CONNECT = "connect"
    """No connection, or it was lost: refused, unreachable, no such name, reset, or a TLS fault."""
    FORBIDDEN = "forbidden"
    """The hub must not connect to the address."""
    PROTOCOL = "protocol"
    """The answer is not HTTP."""


class Outcome(NamedTuple):
    """One attempt. Times in ms."""

    status: int
    """0 when there was no answer."""
    failure: Failure
    error: str
    """A text for people; empty if there was an answer."""
    body: bytes
    """The beginning of the answer's body, as much of it as is kept."""
    retry_after_s: float | None
    """``Retry-After`` (RFC 9110 section 10.2.3) in seconds, also if it is a date; None if there is none or it cannot be parsed."""
    at_ms: int
    duration_ms: int
