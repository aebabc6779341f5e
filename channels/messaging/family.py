"""The family ``messaging``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.messaging.settings import MessagingSettings
from hub.family import Context, Family, Parts


def _build(context: Context) -> Parts:
    from channels.messaging.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family("messaging", _build, settings=MessagingSettings, migrations="channels.messaging.migrations")
