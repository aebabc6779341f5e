"""The family ``interactions``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.interactions.settings import InteractionsSettings
from hub.family import Context, Family, Parts
from hub.security.roles import calls


def _build(context: Context) -> Parts:
    from channels.interactions.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family(
    "interactions",
    _build,
    settings=InteractionsSettings,
    webhooks=("interaction.started", "interaction.finished"),
    held={"interaction": "interactions"},
    migrations="channels.interactions.migrations",
    operations={
        "/interactions/read": "look at interactions",
        "/interactions/events": "hear of interactions that start and finish, without their user data",
        "/interactions/write": "create, change and stop open media interactions",
    },
    heard=dict.fromkeys(("/nexus/v3/interactions", "/nexus/v3/interactions/*"), "/interactions/events"),
    grants={
        "supervisor": (calls("/interactions/events", "/interactions/read"),),
        **dict.fromkeys(("agent", "dashboard"), (calls("/interactions/events"),)),
        **dict.fromkeys(("integrator", "producer"), (calls("/interactions/read", "/interactions/write"),)),
    },
)
