"""Collects from all families what a hub can allow: REST operations, the grants of the built-in roles, and OAuth scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from hub.core.channels import is_wildcard, lies_within
from hub.core.principal import Action
from hub.security.roles import BUILT_IN, Grant, Grants

V = TypeVar("V")


class Scope(NamedTuple):
    """An OAuth scope that a family registers. A token with scopes may do what both its roles and one of its scopes allow."""

    summary: str
    """The description that a person who is asked for consent reads."""
    grants: Grants


class Allowing(Protocol):
    """The fields of a family about access; :class:`hub.family.Family` has them."""

    @property
    def name(self) -> str:
        """The family's name, for error messages."""
        ...

    @property
    def operations(self) -> Mapping[str, str]:
        """Its REST operations: from the name, such as ``/statistics/read``, to what it does, in words that can follow "may not"."""
        ...

    @property
    def grants(self) -> Mapping[str, Grants]:
        """The grants that it adds to the built-in roles, by role."""
        ...

    @property
    def scopes(self) -> Mapping[str, Scope]:
        """Its OAuth scopes, by name."""
        ...

    @property
    def heard(self) -> Mapping[str, str]:
        """The operations that subscribers of its channels need, by pattern."""
        ...


class AccessError(ValueError):
    """Two families, or a family and its routes, contradict each other. This is a programming error; the text says which and where."""


@dataclass(frozen=True, slots=True)
class Access:
    """The operations, role grants and scopes of one hub, each in the order of the families."""

    operations: Mapping[str, str] = field(default_factory=dict)
    """Every REST operation that needs a grant, and what it does. A name that ends in a wildcard stands for operations by path, each of
    which can be granted: ``/media/**`` for ``/media/exports/reporting``.
    """
    roles: Mapping[str, Grants] = field(default_factory=lambda: {name: role.grants for name, role in BUILT_IN.items()})
    """The grants of each built-in role."""
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    heard: Mapping[str, str] = field(default_factory=dict)
    """The operation that subscribers need beside the grant, by the pattern of a channel declaration."""

    def check(self, asked: Iterable[str], where: str) -> None:
        """Check that operations are known.

        Args:
            asked: the operations that a route or a family names.
            where: the name of that route or family, for the message.

        Raises:
            AccessError: no family has one of the operations.
        """
        by_path = [each for each in self.operations if is_wildcard(each)]
        unknown = sorted(each for each in set(asked) - self.operations.keys() if not any(lies_within(each, of) for of in by_path))
        if unknown:
            raise AccessError(f"{where}: expected operations of {', '.join(self.operations)}; got {', '.join(unknown)}")


def assemble(families: Iterable[Allowing]) -> Access:
    """Combine the operations, grants and scopes of families.

    Raises:
        AccessError: two families have an operation, a scope or a channel of the same name; a family grants something to a role that is not
            built in; or a family names an operation that no family has.
    """
    families = tuple(families)
    operations: dict[str, str] = {}
    scopes: dict[str, Scope] = {}
    heard: dict[str, str] = {}
    roles = {name: role.grants for name, role in BUILT_IN.items()}
    for family in families:
        _add_new(operations, family.operations, f"family {family.name}: operation")
        _add_new(scopes, family.scopes, f"family {family.name}: scope")
        _add_new(heard, family.heard, f"family {family.name}: channel")
        for role, grants in family.grants.items():
            if role not in roles:
                raise AccessError(f"family {family.name}: expected grants for one of {', '.join(roles)}, got {role}")
            for grant in grants:
                roles[role] = _with(roles[role], grant)
    access = Access(operations, roles, scopes, heard)
    for family in families:
        access.check(family.heard.values(), f"family {family.name}: channels")
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
    """``grants`` and ``added``. If a grant differs from ``added`` only in its patterns, the two become one grant."""
    for at, grant in enumerate(grants):
        if (grant.action, grant.without, grant.deny) == (added.action, added.without, added.deny):
            patterns = tuple(dict.fromkeys((*grant.within, *added.within)))
            return (*grants[:at], Grant(grant.action, patterns, grant.without, grant.deny), *grants[at + 1 :])
    return (*grants, added)
