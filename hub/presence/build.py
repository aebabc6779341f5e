"""The parts that presence adds to a hub: the list of sessions by REST, and, if a setting names channels, joins and leaves as events."""

from hub.family import Context, Parts
from hub.presence.announcer import Announcer
from hub.presence.roster import Roster
from hub.presence.routes import create_router
from hub.presence.survey import Survey


def build(context: Context) -> Parts:
    """The API of the sessions of all nodes; the announcer of the channels that ``presence.channels`` names."""
    settings = context.settings.presence
    roster = Roster(context.hub)
    survey = Survey(roster, context.hub.incarnation, context.cluster, timeout_s=settings.survey_s)
    if not settings.channels:
        return Parts(routers=[create_router(survey)])
    # made after the roster, so that the roster is updated first
    announcer = Announcer(context.hub, roster, settings.channels, events_per_second=settings.events_per_second)
    return Parts(routers=[create_router(survey)], counters={"presence": announcer.counters})
