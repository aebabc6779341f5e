"""The parts that presence adds to a hub: the list of sessions by REST, and, if a setting names channels, joins and leaves as events."""

from hub.family import Context, Parts
from hub.presence.announcer import Announcer
from hub.presence.roster import Roster
from hub.presence.routes import create_router


def build(context: Context) -> Parts:
    """The roster of this process's sessions and its API; the announcer of the channels that ``presence.channels`` names."""
    settings = context.settings.presence
    roster = Roster(context.hub)
    if not settings.channels:
        return Parts(routers=[create_router(roster)])
    # made after the roster, so that the roster is updated first
    announcer = Announcer(context.hub, roster, settings.channels, events_per_second=settings.events_per_second)
    return Parts(routers=[create_router(roster)], counters={"presence": announcer.counters})
