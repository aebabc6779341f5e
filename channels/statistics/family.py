"""The family ``statistics``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.statistics.settings import StatisticsSettings
from hub.core.principal import Action
from hub.family import Context, Family, Parts
from hub.security.roles import Grant, calls, tree


def _build(context: Context) -> Parts:
    from channels.statistics.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family(
    "statistics",
    _build,
    settings=StatisticsSettings,
    operations={
        "/statistics/read": "read values of statistics",
        "/statistics/subscribe": "open and close statistics subscriptions",
        "/statistics/control": "stop and start the stat server",
    },
    heard=dict.fromkeys(("/statistics/v3/updates", "/statistics/v3/service", "/statistics/v3/values/**"), "/statistics/read"),
    grants={
        "supervisor": (calls("/statistics/read", "/statistics/subscribe", "/statistics/control"),),
        **dict.fromkeys(("agent", "dashboard"), (calls("/statistics/read"),)),
        "viewer": (Grant(Action.SUBSCRIBE, tree("/statistics")), calls("/statistics/read")),
    },
)
