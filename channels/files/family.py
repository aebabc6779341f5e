"""The family ``files``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.files.settings import FilesSettings
from hub.family import Context, Family, Parts, ProcessRole
from hub.security.roles import calls


def _build(context: Context) -> Parts:
    from channels.files.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family(
    "files",
    _build,
    settings=FilesSettings,
    webhooks=("file.uploaded", "file.approved", "file.rejected", "file.failed", "file.deleted"),
    held={"file": "files", "chat": "chats"},
    migrations="channels.files.migrations",
    runs_in=frozenset({ProcessRole.EDGE}),
    operations={
        "/files/read": "look at files and transcripts of interactions, and download them",
        "/files/write": "attach files, and delete them",
        "/files/participants": "answer in chats",
        "/files/chats": "open chats, let others into them, and remove them",
    },
    heard=dict.fromkeys(("/nexus/v3/interactions/**", "/nexus/v3/typing/*"), "/files/read"),
    grants={
        "supervisor": (calls("/files/read"),),
        "agent": (calls("/files/participants"),),
    },
)
