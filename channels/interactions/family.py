"""The family ``interactions``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.interactions.settings import InteractionsSettings
from hub.family import Context, Family, Parts


def _build(context: Context) -> Parts:
    from channels.interactions.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family("interactions", _build, settings=InteractionsSettings, migrations="channels.interactions.migrations")
