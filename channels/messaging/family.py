"""The family ``messaging``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.messaging.doctor import media_folder
from channels.messaging.settings import MessagingSettings
from hub.family import Context, Family, Parts, ProcessRole
from hub.security.roles import calls


def _build(context: Context) -> Parts:
    from channels.messaging.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family(
    "messaging",
    _build,
    settings=MessagingSettings,
    migrations="channels.messaging.migrations",
    checks=(media_folder,),
    runs_in=frozenset({ProcessRole.EDGE}),
    operations={
        "/messaging/admin": "make, change and remove messaging channels, and rotate their secrets",
        "/messaging/read": "look at messaging channels, their messages and media",
        "/messaging/write": "send messages to consumers, upload and delete media",
    },
    heard={"/nexus/v3/channels/**": "/messaging/read"},
    grants={"integrator": (calls("/messaging/read", "/messaging/write"),)},
)
