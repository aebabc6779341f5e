"""What an administrator may hand out: nobody gives more than they have.

A credential, a role or a client is within an administrator's own rights if each grant of it is. Whoever is beyond them can neither be made,
nor changed, nor removed: who sets another's password, or adds a secret to a client, can act as that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from hub.core.channels import lies_within, overlaps
from hub.core.principal import Action
from hub.security.clients_queries import count_origins
from hub.security.models import AdminError
from hub.security.roles import Grant, Grants
from hub.security.variables import has_variable, reach
from hub.storage.transactions import Transaction

EVERYTHING: Final[Grants] = tuple(Grant(action, ("/**",)) for action in Action)
"""What a client without roles of its own may come to: all that any user of the tenant may."""

GrantsOf = Callable[[Transaction, str, frozenset[str]], Grants]
"""The grants of roles of a tenant, as the database has them now."""


class BeyondError(AdminError):
    """An administrator wants to hand out, or to change, what allows more than the administrator's own credential."""


class TooManyError(AdminError):
    """The tenant has as many of a kind as it may have."""


class Supervision(Protocol):
    """Decides what an administrator may change. Its methods run inside the transaction of the change, and raise what refuses it."""

    def adds(self, tx: Transaction, table: str, tenant: str) -> None:
        """Something is about to be added to a table.

        Raises:
            TooManyError: the tenant has too many already.
        """
        ...

    def registers(self, tx: Transaction, tenant: str, more: int) -> None:
        """A client is about to get so many origins more than it has; 0 or less: none.

        Raises:
            TooManyError: the clients of the tenant would have too many together.
        """
        ...

    def gives(self, tx: Transaction, tenant: str, roles: Iterable[str] | None) -> None:
        """Somebody gets these roles, or has them and is about to be changed or removed; None: all that any user may have.

        Raises:
            BeyondError: they allow more than the administrator's credential.
        """
        ...

    def drops(self, tx: Transaction, tenant: str, roles: Iterable[str]) -> None:
        """Somebody loses these roles, and with them what they deny.

        Raises:
            BeyondError: they deny what the administrator may not do either.
        """
        ...

    def defines(self, tx: Transaction, before: Grants, after: Grants) -> None:
        """A role gets other grants. One that is added had none before, one that is removed has none after.

        Raises:
            BeyondError: it allows, or denies no more, what the administrator's credential may not do.
        """
        ...


class Unsupervised:
    """For whoever can write the database anyway: the command line, and the hub itself."""

    __slots__ = ()

    def adds(self, tx: Transaction, table: str, tenant: str) -> None:
        """Anything may be added."""

    def registers(self, tx: Transaction, tenant: str, more: int) -> None:
        """Any origins may be registered."""

    def gives(self, tx: Transaction, tenant: str, roles: Iterable[str] | None) -> None:
        """Any roles may be given."""

    def drops(self, tx: Transaction, tenant: str, roles: Iterable[str]) -> None:
        """Any roles may be taken."""

    def defines(self, tx: Transaction, before: Grants, after: Grants) -> None:
        """Any role may be defined."""


@dataclass(frozen=True, slots=True)
class Delegate:
    """The supervision of a caller of the API."""

    tenant: str
    subject: str
    roles: frozenset[str]
    """The caller's own roles."""
    scopes: Sequence[Grants] | None
    """The grants of each of the scopes that the caller's token is limited to; None: it is not limited."""
    grants_of: GrantsOf
    most: Mapping[str, int] = field(default_factory=dict)
    """How many a tenant may have, by table; ``origins``: those of all clients together."""

    def adds(self, tx: Transaction, table: str, tenant: str) -> None:
        """See :class:`Supervision`."""
        row = tx.row(f"SELECT count(*) FROM {table} WHERE tenant = ?", (tenant,))  # noqa: S608  the hub's own table name
        assert row is not None
        if row[0] >= self.most[table]:
            raise TooManyError(
                f"{table}: expected fewer than {self.most[table]} of a tenant (administration.max_{table}), got {row[0]} that are there; "
                "remove some that nobody needs"
            )

    def registers(self, tx: Transaction, tenant: str, more: int) -> None:
        """See :class:`Supervision`."""
        if more <= 0:  # who has too many may still change the rest, and give some up
            return
        most, there = self.most["origins"], count_origins(tx, tenant)
        if there + more > most:
            raise TooManyError(
                f"origins: expected at most {most} of all clients of a tenant (administration.max_origins), got {more} more than the "
                f"{there} that are there; remove some that nobody needs"
            )

    def gives(self, tx: Transaction, tenant: str, roles: Iterable[str] | None) -> None:
        """See :class:`Supervision`."""
        if roles is None:
            self._check(tx, EVERYTHING, "roles: expected some, since without any of its own it may act with those of each user")
            return
        for role in sorted(roles):  # each by itself: what another role denies today may be taken away tomorrow
            self._check(
                tx, self.grants_of(tx, tenant, frozenset({role})), f"roles: expected roles that allow no more than yours, got {role}"
            )

    def drops(self, tx: Transaction, tenant: str, roles: Iterable[str]) -> None:
        """See :class:`Supervision`."""
        for role in sorted(roles):
            denied = _denied(self.grants_of(tx, tenant, frozenset({role})))
            self._check(tx, denied, f"roles: expected to keep {role}")

    def defines(self, tx: Transaction, before: Grants, after: Grants) -> None:
        """See :class:`Supervision`."""
        self._check(tx, before, "role: expected one that allows no more than your own roles")
        self._check(tx, after, "grants: expected no more than your own roles allow")
        self._check(tx, _denied(each for each in before if each not in after), "grants: expected to keep what the role denies")

    def _check(self, tx: Transaction, given: Grants, refusal: str) -> None:
        beyond = beyond_of(given, self._bound(self.grants_of(tx, self.tenant, self.roles)))
        if beyond is None and self.scopes is not None:
            beyond = beyond_of(given, self._bound(grant for grants in self.scopes for grant in grants))
        if beyond is not None:
            action, pattern = beyond
            raise BeyondError(f"{refusal}, which is about the right to {action.value} {pattern}; you have it not, or not whole")

    def _bound(self, grants: Iterable[Grant]) -> Grants:
        return tuple(grant.bound(self.subject) for grant in grants)


def beyond_of(given: Grants, mine: Grants) -> tuple[Action, str] | None:
    """Compare the grants that somebody is to get with those of the administrator, which are ``mine``.

    Returns the first action and pattern that ``given`` allow and ``mine`` do not; None if ``mine`` allow all of it. In doubt ``mine`` do
    not: where the patterns alone do not tell. A variable in ``given`` stands for every subject, since any user may get the role; in
    ``mine`` the administrator's own subject has been put in.
    """
    for grant in given:
        if grant.deny:
            continue
        denied = (pattern for each in given if _denies_whole(each, grant.action) for pattern in each.within)
        taken = [pattern for pattern in (*grant.without, *denied) if not has_variable(pattern)]
        for pattern in grant.within:
            if not _is_within(grant.action, reach(pattern), taken, mine):
                return grant.action, pattern
    return None


def _is_within(action: Action, pattern: str, taken: Sequence[str], mine: Grants) -> bool:
    """Whether ``mine`` allow every channel or operation of a pattern, except those of the patterns ``taken``."""
    own = [grant for grant in mine if grant.action is action]
    denied = [each for grant in own if grant.deny for each in grant.within]
    if not _left_out(pattern, denied, taken):
        return False
    return any(
        any(lies_within(pattern, each) for each in grant.within) and _left_out(pattern, grant.without, taken)
        for grant in own
        if not grant.deny
    )


def _left_out(pattern: str, missing: Iterable[str], taken: Sequence[str]) -> bool:
    """Whether a pattern without ``taken`` has nothing in common with ``missing``: what the administrator may not do is also what nobody
    gets.
    """
    return all(any(lies_within(each, out) or lies_within(pattern, out) for out in taken) for each in missing if overlaps(pattern, each))


def _denies_whole(grant: Grant, action: Action) -> bool:
    return grant.deny and grant.action is action and not grant.without


def _denied(grants: Iterable[Grant]) -> Grants:
    """What grants deny, as if they allowed it."""
    return tuple(Grant(grant.action, grant.within) for grant in grants if grant.deny)
