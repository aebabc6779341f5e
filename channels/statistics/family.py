"""The family ``statistics``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.statistics.settings import StatisticsSettings
from hub.family import Context, Family, Parts


def _build(context: Context) -> Parts:
    from channels.statistics.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family("statistics", _build, settings=StatisticsSettings)
