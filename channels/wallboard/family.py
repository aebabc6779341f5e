"""The family ``wallboard``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.wallboard.settings import WallboardSettings
from hub.family import Context, Family, Parts, ProcessRole


def _build(context: Context) -> Parts:
    from channels.wallboard.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family("wallboard", _build, settings=WallboardSettings, runs_in=frozenset({ProcessRole.EDGE}))
