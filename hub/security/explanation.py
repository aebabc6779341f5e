"""Explains to administrators what somebody may do, by the decisions of a running hub, on the database alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from hub.core.channels import InvalidChannelError, check_channel, check_pattern, is_wildcard, overlaps, to_segment
from hub.core.decision import Decision, Reason
from hub.core.principal import Action, Principal
from hub.security.credentials import CLIENT_SUBJECT
from hub.security.decisions import Decisions
from hub.security.lookup import DatabaseLookup
from hub.security.models import AdminError, NotThereError
from hub.security.oauth.scopes import ALL, IDENTITY, limits
from hub.security.roles import BUILT_IN, Grants
from hub.security.variables import SUBJECT

if TYPE_CHECKING:
    from hub.security.access import Access
    from hub.security.clients_store import ClientsStore
    from hub.security.store import Store
    from hub.storage.transactions import Transactions

KINDS: Final = ("user", "key", "token", "client", "role")

SOMEBODY: Final = "somebody"
"""The subject for whom a role is explained, unless the administrator names one."""


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody whose rights are explained."""

    kind: str
    """One of :data:`KINDS`."""
    name: str
    """Its name; of a token the id."""
    tenant: str
    subject: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...] | None = None
    """The scopes that the token in question is limited to; None: to none."""

    def principal(self) -> Principal:
        """The caller that it would be."""
        scopes = None if self.scopes is None else frozenset(self.scopes)
        return Principal(self.tenant, self.subject, frozenset(self.roles), "", "", scopes=scopes)

    def __str__(self) -> str:
        subject = f", subject {self.subject}" if self.subject != self.name else ""
        limited = "" if self.scopes is None else f", scopes {' '.join(self.scopes) or 'none'}"
        return f"{self.kind} {self.name} of {self.tenant}{subject}: roles {', '.join(self.roles) or 'none'}{limited}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether somebody may do one thing, and why."""

    action: Action
    resource: str
    allowed: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Its form for scripts."""
        return {"action": self.action.value, "resource": self.resource, "allowed": self.allowed, "reasons": list(self.reasons)}


class Explainer:
    """Finds people and programs in the database, and asks what they may do."""

    __slots__ = ("_access", "_clients", "_decisions", "_roles", "_store")

    def __init__(self, transactions: Transactions, access: Access, store: Store, clients: ClientsStore) -> None:
        self._access = access
        self._store = store
        self._clients = clients
        self._roles = StoredRoles(DatabaseLookup(transactions, access.roles))
        self._decisions = Decisions(self._roles, operations=access.operations, scopes=access.scopes)

    async def find(self, text: str, tenant: str, *, subject: str = "", scopes: Collection[str] | None = None) -> list[Who]:
        """Everybody of a tenant whom a text stands for: ``user:ana``, ``key:switch``, ``token:ID`` or ``token:SUBJECT``, ``client:crm``,
        ``role:agent``, or a name without a kind.

        Args:
            text: the kind and the name.
            tenant: where to look.
            subject: for whom a role is explained.
            scopes: the scopes that the token in question is limited to.

        Raises:
            NotThereError: there is nobody.
            AdminError: ``subject`` is given for somebody who has one.
        """
        kind, colon, name = text.partition(":")
        if not colon or kind not in KINDS:
            kind, name = "", text
        found = [who for each in KINDS if kind in ("", each) for who in await self._of_kind(each, name, tenant, subject or SOMEBODY)]
        if not found:
            raise NotThereError(
                f"WHO: expected a user, a key, the subject or id of a token, a client, or a role of {tenant}, got {text!r}; "
                f"the lists are: {', '.join(f'hub {each} list' for each in KINDS)}"
            )
        if subject and any(who.kind != "role" for who in found):
            raise AdminError(f"--subject: expected it with role:NAME alone, got {text}")
        return [replace(who, scopes=None if scopes is None else tuple(sorted(scopes))) for who in found]

    async def _of_kind(self, kind: str, name: str, tenant: str, somebody: str) -> list[Who]:
        match kind:
            case "user":
                return [Who(kind, name, tenant, name, user.roles) for user in await self._store.users(tenant) if user.name == name]
            case "key":
                return [Who(kind, name, tenant, f"key:{name}", key.roles) for key in await self._store.keys(tenant) if key.name == name]
            case "token":
                of_user = {user.name: user.roles for user in await self._store.users(tenant)}
                return [
                    Who(kind, token.id, tenant, token.subject, token.roles if token.roles is not None else of_user[token.subject])
                    for token in await self._store.tokens(tenant)
                    if name in (token.id, token.subject)
                ]
            case "client":
                return [
                    Who(kind, name, tenant, f"{CLIENT_SUBJECT}{name}", client.roles or ())
                    for client in await self._clients.all(tenant)
                    if client.id == name
                ]
            case _:
                own = [role.name for role in await self._store.roles(tenant)]
                return [Who(kind, name, tenant, somebody, (name,))] if name in BUILT_IN or name in own else []

    async def explain(self, who: Who, action: Action, resource: str) -> Explanation:
        """Whether somebody may do something, and why. ``{subject}`` in ``resource`` stands for the segment of its subject.

        Raises:
            AdminError: it is no channel, pattern or operation.
        """
        resource = resource.replace(SUBJECT, to_segment(who.subject))
        try:
            (check_channel if action is Action.PUBLISH else check_pattern)(resource)
        except InvalidChannelError as error:
            raise AdminError(f"WHAT: {error}; got {resource}") from None
        decision = await self._decisions.decide(who.principal(), action, resource)
        reasons = [f"{decision}{self._meant(resource) if decision.reason is Reason.UNKNOWN_OPERATION else ''}"]
        allowed = decision.allowed
        if action is Action.SUBSCRIBE and allowed:
            for pattern, operation, answer in await self._operations_of(who, resource):
                if answer.allowed:
                    reasons.append(f"{pattern} needs {operation}: {answer}")
                elif is_wildcard(resource):
                    reasons.append(f"without {pattern}, which needs {operation}: {answer}")
                else:
                    allowed = False
                    reasons.append(f"but {pattern} needs {operation}: {answer}")
        return Explanation(action, resource, allowed, tuple(reasons))

    def _meant(self, operation: str) -> str:
        close = get_close_matches(operation, self._access.operations, 1)
        return f"; did you mean {close[0]}?" if close else ""

    async def _operations_of(self, who: Who, pattern: str) -> list[tuple[str, str, Decision]]:
        """The channels that a pattern stands for and that need an operation, and whether somebody may call it."""
        caller = who.principal()
        return [
            (declared, operation, await self._decisions.decide(caller, Action.CALL, operation))
            for declared, operation in self._access.heard.items()
            if overlaps(pattern, declared)
        ]

    async def rules(self, who: Who) -> dict[str, Grants]:
        """The rules of each of somebody's roles, as they are for its subject; of a role that is explained by itself as they are written."""
        found = {role: await self._roles.grants(who.tenant, frozenset({role})) for role in who.roles}
        return found if who.kind == "role" else {role: tuple(each.bound(who.subject) for each in grants) for role, grants in found.items()}

    async def callable_by(self, who: Who) -> list[str]:
        """The operations that somebody may call."""
        caller = who.principal()
        return [each for each in self._access.operations if (await self._decisions.decide(caller, Action.CALL, each)).allowed]

    def limited_to(self, scopes: Sequence[str] | None) -> Collection[str] | None:
        """The scopes of families that limit a token with ``scopes``; None: nothing limits it, as where ``*`` is among them. The scopes of
        OpenID Connect allow nothing.

        Raises:
            AdminError: one is not known.
        """
        known = (ALL, *IDENTITY, *self._access.scopes)
        for each in scopes or ():
            if each not in known:
                own = "" if self._access.scopes else "; this hub has no others"
                raise AdminError(f"--scope: expected one of {', '.join(known)}, got {each!r}{own}")
        return None if scopes is None else limits(tuple(scopes))


class StoredRoles:
    """The grants of roles as they are in the database now."""

    __slots__ = ("_lookup", "grants_generation")

    def __init__(self, lookup: DatabaseLookup) -> None:
        self._lookup = lookup
        self.grants_generation = 0

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        """The grants of all these roles together."""
        return await self._lookup.grants(tenant, roles)
