"""The family ``secure_email``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.secure_email.settings import SecureEmailSettings
from hub.family import Context, Family, Parts


def _build(context: Context) -> Parts:
    from channels.secure_email.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family("secure_email", _build, settings=SecureEmailSettings, migrations="channels.secure_email.migrations")
