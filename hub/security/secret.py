"""The secret of a hub: ``HUB_SECRET``."""

from __future__ import annotations

from hub.ops.settings import Settings
from hub.security.cookies import kept_secret


def signing_secret(settings: Settings) -> bytes:
    """The secret that signs cookies and links: the setting ``secret``, or the one that a single hub keeps in its data folder.

    Raises:
        OSError: the data folder cannot be written.
        ValueError: the file of the kept secret is empty.
    """
    return settings.secret.get_secret_value().encode() if settings.secret is not None else kept_secret(settings.data_dir)
