"""The family ``presence``: who is connected, and the joins and leaves of channels."""

from hub.core.principal import Action
from hub.family import Context, Family, Parts, ProcessRole
from hub.security.roles import Grant, calls, tree


def _build(context: Context) -> Parts:
    from hub.presence.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family(
    "presence",
    _build,
    runs_in=frozenset({ProcessRole.EDGE}),
    operations={
        "/presence/read": "look at who is connected, and what they subscribed to",
        "/presence/write": "send sessions away",
    },
    grants={"supervisor": (Grant(Action.SUBSCRIBE, tree("/hub/presence")), calls("/presence/read"))},
)
