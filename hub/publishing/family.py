"""The family ``publishing``: messages that are published by REST."""

from hub.family import Context, Family, Parts, ProcessRole
from hub.security.roles import calls


def _build(context: Context) -> Parts:
    from hub.publishing.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family(
    "publishing",
    _build,
    runs_in=frozenset({ProcessRole.EDGE}),
    operations={"/publish/write": "publish messages by REST, to all or to one subject"},
    grants={"producer": (calls("/publish/write"),)},
)
