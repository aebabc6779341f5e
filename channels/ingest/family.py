"""The family ``ingest``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.ingest.settings import IngestSettings
from hub.family import Context, Family, Parts
from hub.security.roles import calls


def _build(context: Context) -> Parts:
    from channels.ingest.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family(
    "ingest",
    _build,
    settings=IngestSettings,
    operations={
        "/ingest/write": "send events of the contact centre",
        "/ingest/past": "send events of the contact centre that are older than the limit on their age",
    },
    grants=dict.fromkeys(("integrator", "producer"), (calls("/ingest/write"),)),
)
