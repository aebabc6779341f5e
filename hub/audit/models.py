"""What the audit log holds: its events, who did them, and its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Event(StrEnum):
    """Everything that the audit log tells of."""

    SIGN_IN = "sign_in"
    SIGN_IN_FAILED = "sign_in.failed"
    """A wrong tenant, name or password."""
    SIGN_IN_BRAKED = "sign_in.braked"
    """A try that was not looked at, since too many had failed before it."""
    SIGN_OUT = "sign_out"
    """The end of a browser's sign-in, or of everything of a user."""
    TOKEN_ISSUED = "token.issued"  # noqa: S105
    TOKEN_REFRESHED = "token.refreshed"  # noqa: S105
    TOKEN_REUSE = "token.reuse"  # noqa: S105
    """A code or a refresh token came a second time; all that came of it has ended."""
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    DEVICE_ALLOWED = "device.allowed"
    """A user has allowed a device without a keyboard (RFC 8628)."""
    DEVICE_DENIED = "device.denied"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105
    TENANT_ADDED = "tenant.added"
    TENANT_REMOVED = "tenant.removed"
    ROLE_ADDED = "role.added"
    ROLE_CHANGED = "role.changed"
    ROLE_REMOVED = "role.removed"
    USER_ADDED = "user.added"
    USER_CHANGED = "user.changed"
    USER_REMOVED = "user.removed"
    CLIENT_ADDED = "client.added"
    CLIENT_CHANGED = "client.changed"
    CLIENT_REMOVED = "client.removed"
    KEY_ADDED = "key.added"
    KEY_REMOVED = "key.removed"
    KEY_ROTATED = "key.rotated"
    TOKEN_ADDED = "token.added"  # noqa: S105
    """A token of an administrator, which no grant of OAuth issued."""
    TOKEN_REMOVED = "token.removed"  # noqa: S105
    TOKEN_BLOCKED = "token.blocked"  # noqa: S105
    """Tokens of an external issuer were blocked."""
    SIGNING_KEYS_ROTATED = "signing_keys.rotated"
    ENDPOINT_ADDED = "endpoint.added"
    ENDPOINT_CHANGED = "endpoint.changed"
    ENDPOINT_REMOVED = "endpoint.removed"
    PARTICIPANT_ADDED = "participant.added"
    """Somebody was let into a chat."""
    PARTICIPANT_REMOVED = "participant.removed"
    """Somebody was removed from a chat. Who leaves is not."""
    LOG_BEGUN = "log.begun"
    """The log of a tenant begins. It stands in the log of the hub, so that one that is gone as a whole is missed."""
    LOG_SEALED = "log.sealed"
    """An operator has sealed a log anew, whose seal was not good."""


FAILURES: Final = frozenset({Event.SIGN_IN_FAILED, Event.SIGN_IN_BRAKED})
"""Events that anybody can cause, who has shown no credential."""

ENDS: Final = frozenset({Event.SIGN_OUT, Event.TOKEN_REVOKED, Event.TOKEN_REUSE, Event.DEVICE_ALLOWED, Event.DEVICE_DENIED})
"""Events that clients and users can cause as often as they like, but of which a flood of new tokens must not hide one."""

CHATS: Final = frozenset({Event.PARTICIPANT_ADDED, Event.PARTICIPANT_REMOVED})
"""Events that are as many as there are chats."""

HUB_WIDE: Final = ""
"""The tenant of rows that concern no tenant: the hub's own keys, and sign-ins to a tenant that does not exist."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, and from where. :meth:`hub.audit.log.AuditLog.caller` and :meth:`~hub.audit.log.AuditLog.operator` make one."""

    who: str
    """``person:`` and a pseudonym, ``key:`` or ``client:`` and its name, ``command-line:`` and a pseudonym, or ``hub``."""
    address: str = ""
    """The address of the client; empty: there is none, or it is not known."""
    client: str = ""
    """The id of the OAuth client by which it was done."""


HUB: Final = Actor("hub")
"""The hub itself, as at its start."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened. ``before`` and ``after`` hold neither secrets nor anything by which a person is known."""

    event: Event
    tenant: str
    target: str = ""
    """What it was done to, such as ``role:wall``; persons by pseudonym."""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    count: int = 1
    """How often it happened: see :mod:`hub.audit.shares`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the log."""

    tenant: str
    number: int
    """Counts the rows of a tenant from 1, without a gap."""
    at_ms: int
    """In milliseconds since 1970 UTC."""
    event: str
    who: str
    address: str
    client: str
    target: str
    count: int
    before: str | None
    """A JSON object."""
    after: str | None
    hash: str
    """Covers everything above and the hash of the row before (:func:`hub.audit.chain.hash_of`)."""
