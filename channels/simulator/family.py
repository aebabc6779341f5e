"""The family ``simulator``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.simulator.settings import SimulatorSettings
from hub.family import Context, Family, Parts, ProcessRole


def _build(context: Context) -> Parts:
    if not context.settings.demo:
        return Parts()
    from channels.simulator.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family("simulator", _build, settings=SimulatorSettings, runs_in=frozenset({ProcessRole.STAT_SERVER}))
