"""The family ``media_storage``: its name, its settings and where its parts are, for the list of families in :mod:`channels.families`."""

from channels.media_storage.folders import FOLDERS
from channels.media_storage.settings import MediaStorageSettings
from hub.family import Context, Family, Parts, ProcessRole
from hub.security.access import Scope
from hub.security.roles import calls, tree


def _build(context: Context) -> Parts:
    from channels.media_storage.build import build  # commands that read settings alone need none of this

    return build(context)


family = Family(
    "media_storage",
    _build,
    settings=MediaStorageSettings,
    webhooks=("media.uploaded",),
    held={"media file": "media_objects"},
    migrations="channels.media_storage.migrations",
    runs_in=frozenset({ProcessRole.EDGE}),
    operations={"/media/**": "list, upload, download and delete files of media storage, by the path of their folder"},
    scopes={
        each.scope: Scope(f"Use the files in {each.path}", (calls(*tree(f"/media/{each.path}")),))
        for each in FOLDERS.values()
        if each.scope is not None
    },
)
