"""What presence puts into a hub: the list of sessions by REST, and joins and leaves as events where a setting asks for them."""

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
    # after the roster, which so hears of each change first
    announcer = Announcer(context.hub, roster, settings.channels, events_per_second=settings.events_per_second)
    return Parts(routers=[create_router(roster)], counters={"presence": announcer.counters})
