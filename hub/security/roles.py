"""Roles and their grants. A role allows what lies within one of its patterns and overlaps none of its exceptions. A caller with several
roles may do what any of them allows, unless one of them denies it.

:data:`BUILT_IN` has the built-in roles with the grants of the hub itself. Families add grants to them (:mod:`hub.security.access`), and
tenants add roles. Resources are channel patterns for subscribe and publish, and paths of words such as ``/statistics/read`` for REST
operations.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from hub.core.channels import InvalidChannelError, check_pattern, lies_within, overlaps
from hub.core.principal import Action


def tree(*roots: str) -> tuple[str, ...]:
    """The patterns of channels and of everything below them."""
    return tuple(pattern for root in roots for pattern in (root, f"{root}/**"))


SERVER_ONLY: Final = tree("/statistics", "/nexus", "/hub", "/meta")
"""Only the server publishes here; not even an administrator may, so that clients can trust these channels."""


class RoleError(ValueError):
    """The definition of a role is not valid; the text names the field, what was expected, and what came."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Allows an action on patterns, except ``without``; with ``deny`` it forbids the action there, whatever other grants allow."""

    action: Action
    within: tuple[str, ...]
    without: tuple[str, ...] = ()
    deny: bool = False

    def covers(self, resource: str) -> bool:
        """Whether everything that ``resource``, a name or a pattern, matches is granted."""
        return any(lies_within(resource, pattern) for pattern in self.within) and not any(
            overlaps(resource, pattern) for pattern in self.without
        )

    def denies(self, resource: str) -> bool:
        """Whether anything that ``resource`` matches is denied."""
        return self.deny and any(overlaps(resource, p) for p in self.within) and not any(lies_within(resource, p) for p in self.without)

    def to_json(self) -> dict[str, Any]:
        """The stored form, which :func:`parse_grant` reads."""
        stored = {"action": self.action.value, "within": list(self.within), "without": list(self.without)}
        return {**stored, "deny": True} if self.deny else stored


Grants = tuple[Grant, ...]


def calls(*operations: str) -> Grant:
    """A grant to call REST operations."""
    return Grant(Action.CALL, operations)


_LISTEN: Final = Grant(Action.SUBSCRIBE, ("/**",), tree("/hub", "/meta"))
"""All channels for clients, without those of the server itself."""


class BuiltInRole(NamedTuple):
    """A built-in role with the grants of the hub itself; families add grants (:mod:`hub.security.access`)."""

    summary: str
    """The purpose of the role, in words."""
    grants: Grants


BUILT_IN: Final[Mapping[str, BuiltInRole]] = {
    "admin": BuiltInRole(
        "everything in its tenant",
        (Grant(Action.SUBSCRIBE, ("/**",)), Grant(Action.PUBLISH, ("/**",)), Grant(Action.CALL, ("/**",))),
    ),
    "supervisor": BuiltInRole(
        "hear statistics, interactions, presence and free channels; subscribe statistics, look at interactions and sessions", (_LISTEN,)
    ),
    "agent": BuiltInRole("hear statistics, interactions and free channels; read statistics by REST", (_LISTEN,)),
    "dashboard": BuiltInRole("hear statistics, interactions and free channels; read statistics by REST", (_LISTEN,)),
    "viewer": BuiltInRole("hear statistics; read them by REST", ()),
    "integrator": BuiltInRole("send events; interactions, messaging and secure e-mail by REST", ()),
    "producer": BuiltInRole("send events; publish on free channels, by REST too", (Grant(Action.PUBLISH, ("/**",), SERVER_ONLY),)),
    "anonymous": BuiltInRole(
        "subscribe and publish on free channels",
        (Grant(Action.SUBSCRIBE, ("/**",), SERVER_ONLY), Grant(Action.PUBLISH, ("/**",), SERVER_ONLY)),
    ),
}
"""The built-in roles. ``anonymous`` is what ``--open`` gives to clients without credentials (docs/protocol/commands.md#open)."""

ANONYMOUS: Final = "anonymous"

LATER: Final = frozenset({"agent", "viewer", "integrator"})
"""Built-in roles that version 0.1.0 did not have. If a tenant has a role of its own with such a name, that role applies instead."""


def allowed(grants: Iterable[Grant], action: Action, resource: str) -> bool:
    """Whether grants allow an action on a resource. By default they do not; on channels of ``SERVER_ONLY`` nobody may publish."""
    if action is Action.PUBLISH and any(overlaps(resource, pattern) for pattern in SERVER_ONLY):
        return False
    asked = [grant for grant in grants if grant.action is action]
    if any(grant.denies(resource) for grant in asked):
        return False
    return any(not grant.deny and grant.covers(resource) for grant in asked)


def parse_grant(raw: object) -> Grant:
    """A grant from its stored form.

    Raises:
        RoleError: it does not have the form ``{"action": ..., "within": [...], "without": [...], "deny": true}``, of which the last two
            may be missing, or a pattern is not valid.
    """
    if not isinstance(raw, Mapping):
        raise RoleError(f"grant: expected an object, got {raw!r}")
    try:
        action = Action(raw.get("action"))
    except ValueError:
        raise RoleError(f"grant.action: expected one of {', '.join(a.value for a in Action)}, got {raw.get('action')!r}") from None
    within = _patterns(raw.get("within"), "within")
    if not within:
        raise RoleError("grant.within: expected at least one pattern, got none")
    deny = raw.get("deny", False)
    if not isinstance(deny, bool):
        raise RoleError(f"grant.deny: expected true or false, got {deny!r}")
    return Grant(action, within, _patterns(raw.get("without", ()), "without"), deny)


def _patterns(raw: object, field: str) -> tuple[str, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not all(isinstance(item, str) for item in raw):
        raise RoleError(f"grant.{field}: expected a list of patterns, got {raw!r}")
    try:
        return tuple(check_pattern(item) for item in raw)
    except InvalidChannelError as fault:
        raise RoleError(f"grant.{field}: {fault}") from None
