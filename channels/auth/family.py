"""The family ``auth``: its name and its settings, for the list of families in :mod:`channels.families`."""

from channels.auth.settings import AuthSettings
from hub.family import Context, Family, Parts, ProcessRole


def _build(context: Context) -> Parts:
    from channels.auth.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family("auth", _build, settings=AuthSettings, runs_in=frozenset({ProcessRole.EDGE}))
