"""The list of the families of this hub."""

from typing import Final

from channels.auth.family import family as auth
from channels.files.family import family as files
from channels.ingest.family import family as ingest
from channels.interactions.family import family as interactions
from channels.media_storage.family import family as media_storage
from channels.messaging.family import family as messaging
from channels.secure_email.family import family as secure_email
from channels.simulator.family import family as simulator
from channels.statistics.family import family as statistics
from channels.wallboard.family import family as wallboard
from hub.family import Family

FAMILIES: Final[tuple[Family, ...]] = (
    statistics,
    interactions,
    ingest,
    secure_email,
    messaging,
    files,
    media_storage,
    auth,
    simulator,
    wallboard,
)
"""Every family, in the order in which their services start: families that process events come before ingest, which accepts them."""
