"""Roles and their grants. A role allows what lies within one of its patterns and overlaps none of its exceptions. A caller with several
roles may do what any of them allows, unless one of them denies it.

:data:`BUILT_IN` has the built-in roles with the grants of the hub itself. Families add grants to them (:mod:`hub.security.access`), and
tenants add roles. Resources are channel patterns for subscribe and publish, and paths of words such as ``/statistics/read`` for REST
operations.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hub.core.channels import SERVER_ROOTS, InvalidChannelError, lies_within, overlaps
from hub.core.decision import Decision, Reason
from hub.core.principal import Action
from hub.security.variables import SUBJECT, VariableError, bound, check_template, has_variable, reach


def tree(*roots: str) -> tuple[str, ...]:
    """The patterns of channels and of everything below them."""
    return tuple(pattern for root in roots for pattern in (root, f"{root}/**"))


SERVER_ONLY: Final = tree(*SERVER_ROOTS)
"""The patterns of what only the server publishes on."""


class RoleError(ValueError):
    """The definition of a role is not valid; the text names the field, what was expected, and what came."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Allows an action on patterns, except ``without``; with ``deny`` it forbids the action there, whatever other grants allow. Its
    patterns may have variables (:mod:`hub.security.variables`).
    """

    action: Action
    within: tuple[str, ...]
    without: tuple[str, ...] = ()
    deny: bool = False
    personal: bool = field(init=False, repr=False, compare=False)
    """Whether its patterns have variables. It is asked for with each decision."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "personal", any(has_variable(each) for each in (*self.within, *self.without)))

    def bound(self, subject: str) -> "Grant":
        """This grant as it is when ``subject`` asks: without variables."""
        if not self.personal:
            return self
        within, without = (tuple(bound(each, subject) for each in patterns) for patterns in (self.within, self.without))
        return Grant(self.action, within, without, self.deny)

    def differs_by_subject(self, resource: str) -> bool:
        """Whether the answer about ``resource`` may depend on who asks."""
        return self.personal and any(has_variable(each) and overlaps(resource, reach(each)) for each in (*self.within, *self.without))

    def excepts(self, resource: str) -> bool:
        """Whether anything that ``resource`` matches is an exception."""
        return any(overlaps(resource, pattern) for pattern in self.without)

    def to_json(self) -> dict[str, Any]:
        """The stored form, which :func:`parse_grant` reads."""
        stored = {"action": self.action.value, "within": list(self.within), "without": list(self.without)}
        return {**stored, "deny": True} if self.deny else stored


Grants = tuple[Grant, ...]


def calls(*operations: str) -> Grant:
    """A grant to call REST operations."""
    return Grant(Action.CALL, operations)


SUBJECTS: Final = "/agents"
"""Below it each subject has channels of its own: ``/agents/ana``, ``/agents/ana/**`` (docs/protocol/channels.md#channels-of-a-subject)."""

_LISTEN: Final = Grant(Action.SUBSCRIBE, ("/**",), tree("/hub", "/meta"))
"""All channels for clients, without those of the server itself."""

_LISTEN_TO_NOBODY: Final = Grant(Action.SUBSCRIBE, ("/**",), tree("/hub", "/meta", SUBJECTS))
"""The same, without the channels of subjects."""


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
    "agent": BuiltInRole(
        "what dashboard may; hear the channels of its own subject",
        (_LISTEN_TO_NOBODY, Grant(Action.SUBSCRIBE, tree(f"{SUBJECTS}/{SUBJECT}"))),
    ),
    "dashboard": BuiltInRole(
        "hear statistics, interactions, and free channels but those of subjects; read statistics by REST", (_LISTEN_TO_NOBODY,)
    ),
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


def judge(roles: Mapping[str, Iterable[Grant]], action: Action, resource: str, subject: str = "") -> Decision:
    """Decide by the grants of a caller's roles, and say which one decided. What no grant covers is denied; a denial wins over every grant;
    on channels of ``SERVER_ONLY`` nobody may publish.

    Args:
        roles: the grants of each role, by name.
        action: what the caller wants to do.
        resource: a channel, a pattern, or an operation. Of a pattern, everything that it matches must be granted, and nothing denied.
        subject: who asks; it takes the place of variables.
    """
    if action is Action.PUBLISH:
        for pattern in SERVER_ONLY:
            if overlaps(resource, pattern):
                return Decision(False, Reason.SERVER_ONLY, rule=pattern)
    asked = [
        (role, grant, grant.bound(subject) if grant.differs_by_subject(resource) else grant)
        for role, grants in roles.items()
        for grant in grants
        if grant.action is action
    ]
    for role, grant, mine in asked:
        if grant.deny and not any(lies_within(resource, pattern) for pattern in mine.without):
            for written, pattern in zip(grant.within, mine.within, strict=True):
                if overlaps(resource, pattern):
                    return Decision(False, Reason.DENIED, role, written)
    nearly: Decision | None = None
    for role, grant, mine in asked:
        if grant.deny:
            continue
        for written, pattern in zip(grant.within, mine.within, strict=True):
            if lies_within(resource, pattern) and not mine.excepts(resource):
                return Decision(True, Reason.GRANTED, role, written)
            if nearly is None and overlaps(resource, pattern):
                nearly = _nearly(role, grant, mine, written, resource)
    return nearly or Decision(False, Reason.NOT_GRANTED)


def _nearly(role: str, grant: Grant, mine: Grant, written: str, resource: str) -> Decision:
    """Why a grant does not cover all of a resource, of which its pattern ``written`` matches some."""
    for exception, pattern in zip(grant.without, mine.without, strict=True):
        if lies_within(resource, pattern):
            return Decision(False, Reason.EXCEPTED, role, exception)
    return Decision(False, Reason.NOT_WHOLLY_GRANTED, role, written)


def allowed(grants: Iterable[Grant], action: Action, resource: str, subject: str = "") -> bool:
    """Whether grants allow an action on a resource: :func:`judge`."""
    return judge({"": grants}, action, resource, subject).allowed


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
        return tuple(check_template(item) for item in raw)
    except (InvalidChannelError, VariableError) as fault:
        raise RoleError(f"grant.{field}: {fault}") from None
