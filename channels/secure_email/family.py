"""The family ``secure_email``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.secure_email.doctor import attachments
from channels.secure_email.settings import SecureEmailSettings
from hub.family import Context, Family, Parts, ProcessRole
from hub.security.roles import calls


def _build(context: Context) -> Parts:
    from channels.secure_email.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family(
    "secure_email",
    _build,
    settings=SecureEmailSettings,
    held={"secure mail": "secure_mails"},
    migrations="channels.secure_email.migrations",
    checks=(attachments,),
    runs_in=frozenset({ProcessRole.EDGE}),
    operations={
        "/securemail/read": "list and read secure e-mail",
        "/securemail/write": "send secure e-mail for a consumer, mark it as read, delete and purge it",
        "/securemail/reply": "send secure e-mail to a consumer",
    },
    grants={"integrator": (calls("/securemail/read", "/securemail/write", "/securemail/reply"),)},
)
