"""What has changed among credentials and roles: the rows of ``revocations``, and which credentials each concerns
(docs/protocol/credentials.md#changes-of-credentials).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, NamedTuple

from hub.security.credentials import Credential

MAX_CHANGES: Final = 10_000
"""Changes that are read at once; after more of them everything is read again."""


class Kind(StrEnum):
    """What ``ref`` of a change names."""

    NEW = "new"
    """Something was added, whatever it is: nobody can have it yet, but it may have been asked for in vain."""
    TOKEN = "token"  # noqa: S105
    KEY = "key"
    ACCESS_KEY = "aws"
    """One that signs requests (:mod:`hub.security.access_keys`)."""
    USER = "user"
    ACCESS = "access"
    """An access token of OAuth by itself; its family lives."""
    FAMILY = "family"
    CLIENT = "client"
    ROLE = "role"
    """``ref`` is the tenant whose role it is."""
    TENANT = "tenant"
    EXTERNAL = "external"
    """A token of an external issuer."""
    SIGN_IN = "sign_in"
    """``ref`` is the number of a browser's sign-in, a blank, and the login of what it opened, if no other has that."""


class Change(NamedTuple):
    """One thing that has changed or ended."""

    kind: str
    ref: str


class Changes(NamedTuple):
    """All changes since a number."""

    number: int
    """That of the newest change."""
    known: Sequence[Change] | None
    """None: something has changed of which there is no row, since an older hub or a restored backup wrote it, or the rows are gone."""


class Concerned:
    """The credentials that changes concern."""

    __slots__ = ("_clients", "_families", "_ids", "_tenants", "_users", "news", "role_tenants", "sign_ins")

    def __init__(self, changes: Iterable[Change]) -> None:
        self.news = False
        """Whether something was added."""
        self.role_tenants: set[str] = set()
        """The tenants of which roles changed, or that were removed."""
        self._ids: set[str] = set()
        self._users: set[str] = set()
        self._families: set[str] = set()
        self._clients: set[str] = set()
        self._tenants: set[str] = set()
        self.sign_ins: set[str] = set()
        """The sign-ins that ended, as ``ref`` has them; the credential of the user holds."""
        for kind, ref in changes:
            match kind:
                case Kind.NEW:
                    self.news = True
                case Kind.TOKEN | Kind.ACCESS | Kind.KEY | Kind.ACCESS_KEY | Kind.EXTERNAL:
                    self._ids.add(f"{kind}:{ref}")
                case Kind.USER:
                    self._users.add(ref)
                case Kind.FAMILY:
                    self._families.add(ref)
                case Kind.SIGN_IN:
                    self.sign_ins.add(ref)
                case Kind.CLIENT:
                    self._clients.add(ref)
                case _:  # a role's, a tenant's, and a kind of a newer hub, of which the ref is a tenant's too
                    self._tenants.add(ref)
                    self.role_tenants.add(ref)

    def __contains__(self, credential: object) -> bool:
        """Whether a credential has to be read again."""
        return isinstance(credential, Credential) and (
            credential.id in self._ids
            or credential.user in self._users
            or credential.family in self._families
            or credential.client in self._clients
            or credential.tenant in self._tenants
        )

    @property
    def single(self) -> Collection[str] | None:
        """The ids of all that is concerned; None if it is not known by id alone."""
        return None if self._users or self._families or self._clients or self._tenants else self._ids

    @property
    def clients(self) -> bool:
        """Whether a client may have been added, changed or removed."""
        return self.news or bool(self._clients or self._tenants)

    @property
    def some(self) -> bool:
        """Whether any credential can be concerned."""
        return bool(self._ids or self._users or self._families or self._clients or self._tenants)


def has_shrunk(before: Credential, now: Credential | None) -> bool:
    """Whether a credential has ended, is another one, or allows less than before; what it opened ends then. One that allows more ends
    nothing: the sessions go on with what they had.
    """
    if now is None:
        return True
    if before == now:
        return False
    if replace(before, roles=now.roles, grants=now.grants) != now:
        return True
    denied = {grant for grant in now.grants if grant.deny} - set(before.grants)
    return not before.roles <= now.roles or not set(before.grants) <= set(now.grants) or bool(denied)
