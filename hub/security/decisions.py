"""Decides what callers may do, and remembers what it decided (docs/protocol/credentials.md#decisions)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from hub.core.channels import overlaps
from hub.core.decision import Decision, Reason
from hub.core.limits import Limits
from hub.core.principal import Action, Principal
from hub.security.access import Scope
from hub.security.decision_cache import Asked, DecisionCache
from hub.security.roles import Grants, allowed, judge

_OUT_OF_SCOPE: Final = Decision(False, Reason.OUT_OF_SCOPE)
_UNKNOWN: Final = Decision(False, Reason.UNKNOWN_OPERATION)


class RoleSource(Protocol):
    """Where the grants of roles are: see :class:`hub.security.directory.Directory`."""

    @property
    def grants_generation(self) -> int:
        """Rises when grants may have changed."""
        ...

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        """The grants of all these roles together."""
        ...


@dataclass(slots=True)
class Counters:
    """What the decisions count; ``/metrics`` reads them."""

    made: int = 0
    """Decisions on what a caller may do; those that were remembered are not counted."""


class Decisions:
    """The one decision function: by the grants of a caller's roles, and by the scopes that its token is limited to. It is the authorizer of
    :class:`hub.core.hub.Hub`.
    """

    __slots__ = ("_directory", "_known", "counters", "operations", "scopes")

    def __init__(
        self,
        directory: RoleSource,
        *,
        operations: Mapping[str, str] | None = None,
        scopes: Mapping[str, Scope] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """``directory`` finds the grants of roles. ``limits`` say how many decisions are remembered. For the others see the attributes."""
        self._directory = directory
        self._known = DecisionCache((limits or Limits()).max_decisions)
        self.operations: Mapping[str, str] = operations or {}
        """What each REST operation does, in words (:attr:`hub.security.access.Access.operations`). Nobody may call one that is not here,
        unless there are none.
        """
        self.scopes: Mapping[str, Scope] = scopes or {}
        """The OAuth scopes of families, by name (:attr:`hub.security.access.Access.scopes`)."""
        self.counters = Counters()

    async def decide(self, principal: Principal, action: Action, resource: str) -> Decision:
        """Whether ``principal`` may do ``action`` on ``resource``, a channel, pattern or operation, and why. Default: no.

        Raises:
            hub.security.lookup.LookupUnavailableError: the database does not answer.
        """
        question = (principal.tenant, principal.roles, principal.scopes, action, resource)
        known = self._known.get(question) or self._known.get((*question, principal.subject))
        return known or await self._decide_anew(principal, action, resource, question)

    async def _decide_anew(self, principal: Principal, action: Action, resource: str, question: Asked) -> Decision:
        roles = await self._roles_of(principal)
        scopes = self._grants_of(principal.scopes or ())
        decision = judge(roles, action, resource, principal.subject)
        if action is Action.CALL and self.operations and not any(overlaps(resource, each) for each in self.operations):
            decision = _UNKNOWN
        elif decision.allowed and principal.scopes is not None and not self._in_scope(scopes, principal, action, resource):
            decision = _OUT_OF_SCOPE
        grants = (grant for each in (*roles.values(), *scopes) for grant in each if grant.personal and grant.action is action)
        if any(grant.differs_by_subject(resource) for grant in grants):
            self._known.add((*question, principal.subject), decision)
        else:
            self._known.add(question, decision)
        self.counters.made += 1
        return decision

    async def _roles_of(self, principal: Principal) -> dict[str, Grants]:
        """The grants of each role, all as they are at one moment."""
        while True:
            generation = self._directory.grants_generation
            found = {role: await self._directory.grants(principal.tenant, frozenset({role})) for role in sorted(principal.roles)}
            if generation == self._directory.grants_generation:
                return found

    def _grants_of(self, scopes: Collection[str]) -> list[Grants]:
        """The grants of each scope. One that no family registers any more has none."""
        return [self.scopes[name].grants for name in scopes if name in self.scopes]

    def _in_scope(self, scopes: list[Grants], principal: Principal, action: Action, resource: str) -> bool:
        return any(allowed(grants, action, resource, principal.subject) for grants in scopes)

    def summary_of(self, operation: str) -> str:
        """What a REST operation does, in words that follow "may not"."""
        return self.operations.get(operation, f"call {operation}")

    def forget(self) -> None:
        """Decide everything anew, since grants may have changed."""
        self._known.clear()

    def __len__(self) -> int:
        """How many decisions are remembered."""
        return len(self._known)
