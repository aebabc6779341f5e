"""The check of ``hub doctor`` for media: hubs that share a database need one folder of media."""

from __future__ import annotations

from collections.abc import Iterator

from channels.messaging.settings import MessagingSettings
from hub.doctor.inspection import Finding, Inspection, Level

_ADVICE = "set messaging.media_dir (HUB_MESSAGING__MEDIA_DIR) to one folder that is mounted on all hubs (docs/deployment.md)"


def media_folder(inspection: Inspection) -> Iterator[Finding]:
    """Check that hubs which share a PostgreSQL, and have messaging channels, have a folder of media that is not one hub's own."""
    settings = inspection.settings
    messaging: object = getattr(settings, "messaging", None)
    if settings.redis_url is None or inspection.database_path is not None or not isinstance(messaging, MessagingSettings):
        return
    if settings.objects.url is not None:  # new media go there
        return
    folder = messaging.media_dir
    if folder is None:
        ((channels,),) = inspection.rows("SELECT count(*) FROM messaging_channels")
        if channels:
            message = f"there are {channels} messaging channels, and media lie in the data folder of the hub that got them"
            yield Finding(Level.WARNING, "media", message, _ADVICE)
    elif not folder.is_dir():
        yield Finding(Level.WARNING, "media", f"there is no folder {folder.absolute()} on this machine", f"mount it; or {_ADVICE}")
    elif folder.absolute().is_relative_to(settings.data_dir.absolute()) and settings.workers == 1:
        yield Finding(Level.WARNING, "media", f"{folder.absolute()} is in the data folder, which is one hub's own", _ADVICE)
    else:
        yield Finding(Level.OK, "media", f"{folder.absolute()} is the folder of media; nodes compare its id when they start")
