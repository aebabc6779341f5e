"""What may be allowed in a hub, put together from its families: REST operations, the grants of the built-in roles, and OAuth scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from hub.core.principal import Action
from hub.security.roles import BUILT_IN, Grant, Grants

V = TypeVar("V")


class Scope(NamedTuple):
    """An OAuth scope that a family registers. A token that was asked for with scopes may do what its roles and one of its scopes allow."""

    summary: str
    """What whoever is asked for consent reads."""
    grants: Grants


class Allowing(Protocol):
    """What a family says of access: :class:`hub.family.Family` has these fields."""

    @property
    def name(self) -> str:
        """The family's name, for error messages."""
        ...

    @property
    def operations(self) -> Mapping[str, str]:
        """Its REST operations: name, such as ``/statistics/read``, to what it does, in words that follow "may not"."""
        ...

    @property
    def grants(self) -> Mapping[str, Grants]:
        """What it adds to the built-in roles, by role."""
        ...

    @property
    def scopes(self) -> Mapping[str, Scope]:
        """Its OAuth scopes, by name."""
        ...


class AccessError(ValueError):
    """Two families, or a family and its routes, contradict each other: a mistake of whoever wrote them. The text says which and where."""


@dataclass(frozen=True, slots=True)
class Access:
    """The tables of one hub. The order of each is that of the families."""

    operations: Mapping[str, str] = field(default_factory=dict)
    """Every REST operation that needs a grant, and what it does."""
    roles: Mapping[str, Grants] = field(default_factory=lambda: {name: role.grants for name, role in BUILT_IN.items()})
    """What each built-in role allows."""
    scopes: Mapping[str, Scope] = field(default_factory=dict)

    def check(self, asked: Iterable[str], where: str) -> None:
        """Check that operations are known.

        Args:
            asked: the operations that something asks for.
            where: what asks, for the message.

        Raises:
            AccessError: no family has one of them.
        """
        unknown = sorted(set(asked) - self.operations.keys())
        if unknown:
            raise AccessError(f"{where}: expected operations of {', '.join(self.operations)}; got {', '.join(unknown)}")


def assemble(families: Iterable[Allowing]) -> Access:
    """Put together what families say of access.

    Raises:
        AccessError: two families have an operation or a scope of the same name; one grants something to a role that is not built in, or an
            operation that no family has.
    """
    families = tuple(families)
    operations: dict[str, str] = {}
    scopes: dict[str, Scope] = {}
    roles = {name: role.grants for name, role in BUILT_IN.items()}
    for family in families:
        _add_new(operations, family.operations, f"family {family.name}: operation")
        _add_new(scopes, family.scopes, f"family {family.name}: scope")
        for role, grants in family.grants.items():
            if role not in roles:
                raise AccessError(f"family {family.name}: expected grants for one of {', '.join(roles)}, got {role}")
            for grant in grants:
                roles[role] = _with(roles[role], grant)
    access = Access(operations, roles, scopes)
    for family in families:
        given = (grant for grants in (*family.grants.values(), *(scope.grants for scope in family.scopes.values())) for grant in grants)
        named = (each for grant in given if grant.action is Action.CALL for each in grant.within if "*" not in each)
        access.check(named, f"family {family.name}: grants")
    return access


def _add_new(known: dict[str, V], added: Mapping[str, V], what: str) -> None:
    for name, value in added.items():
        if name in known:
            raise AccessError(f"{what} {name}: expected a name that no other family has")
        known[name] = value


def _with(grants: Grants, added: Grant) -> Grants:
    """``grants`` and one more, which becomes a part of one of them where they differ in their patterns alone."""
    for at, grant in enumerate(grants):
        if (grant.action, grant.without, grant.deny) == (added.action, added.without, added.deny):
            patterns = tuple(dict.fromkeys((*grant.within, *added.within)))
            return (*grants[:at], Grant(grant.action, patterns, grant.without, grant.deny), *grants[at + 1 :])
    return (*grants, added)
