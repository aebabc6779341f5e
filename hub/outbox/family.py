"""The family ``outbox``: events that must be delivered, and the webhooks that deliver them."""

from hub.family import Context, Family, Parts
from hub.outbox.doctor import webhook_secrets


def _build(context: Context) -> Parts:
    from hub.outbox.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family(
    "outbox",
    _build,
    migrations="hub.outbox.migrations",
    checks=(webhook_secrets,),
    operations={
        "/endpoints/read": "look at webhook endpoints and deliveries",
        "/endpoints/write": "add, change and remove webhook endpoints, and replay deliveries",
    },
    heard={"/hub/operations": "/admin/read"},
)
